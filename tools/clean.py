# SPDX-License-Identifier: GPL-2.0-only
"""make clean, make distclean."""

import contextlib
import sys

from common import BUILD, CACHE, CACHED, MARKER, Failed, main, remove, say, shown
from patchqueue import QUEUES


def remove_cache():
    """What the tools made in the cache, and the directory only if nothing else is in it."""
    if not CACHE.exists():
        return
    if not MARKER.exists():
        raise Failed(f"{shown(CACHE)} has no {MARKER.name} of ours, so nothing there is removed; "
                     "is that the directory you mean (SVA_CACHE, XDG_CACHE_HOME)?")
    for name in CACHED:
        remove(CACHE / name)
    MARKER.unlink()
    with contextlib.suppress(OSError):
        CACHE.rmdir()
    say(f"removed {shown(CACHE)}" + (", but for files that are not ours" if CACHE.exists() else ""))


def run():
    for queue in QUEUES:
        if (queue.tree / ".git").exists():
            queue.refuse_edits("make clean would remove it")
    remove(BUILD)
    say(f"removed {shown(BUILD)}")
    if sys.argv[1:] == ["--cache"]:
        remove_cache()


if __name__ == "__main__":
    main(run)
