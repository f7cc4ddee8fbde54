# SPDX-License-Identifier: GPL-2.0-only
"""make clean, make distclean. They refuse to remove a developer's edits and new files, but not what
git ignores in a work tree: programs that were built there cannot be told from it."""

import contextlib
import sys

from common import (BUILD, CACHE, CACHED, MARKER, Failed, cache_is_ours, main, remove, say,
                    shown)
from patchqueue import QUEUES


def refuse_cache():
    """Nothing is removed from a directory that the tools did not mark."""
    if CACHE.exists() and not cache_is_ours():
        raise Failed(f"{shown(CACHE)} has no {MARKER.name} of ours, so nothing there is removed; "
                     "is that the directory you mean (SVA_CACHE, XDG_CACHE_HOME)?")


def remove_cache():
    """What the tools made in the cache, and the directory only if nothing else is in it."""
    if not CACHE.exists():
        return
    for name in CACHED:
        remove(CACHE / name)
    MARKER.unlink()
    with contextlib.suppress(OSError):
        CACHE.rmdir()
    say(f"removed {shown(CACHE)}" + (", but for files that are not ours" if CACHE.exists() else ""))


def run():
    cache = sys.argv[1:] == ["--cache"]
    if cache:
        refuse_cache()
    for queue in QUEUES:
        if (queue.tree / ".git").exists():
            queue.refuse_edits("make clean would remove it", removed=True)
    remove(BUILD)
    say(f"removed {shown(BUILD)}")
    if cache:
        remove_cache()


if __name__ == "__main__":
    main(run)
