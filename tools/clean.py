# SPDX-License-Identifier: GPL-2.0-only
"""make clean, make distclean."""

import sys

from common import BUILD, CACHE, main, remove, say, shown
from patchqueue import QUEUES


def run():
    for queue in QUEUES:
        if (queue.tree / ".git").exists():
            queue.refuse_edits("make clean would remove it")
    remove(BUILD)
    say(f"removed {shown(BUILD)}")
    if sys.argv[1:] == ["--cache"]:
        remove(CACHE)
        say(f"removed {shown(CACHE)}")


main(run)
