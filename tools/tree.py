# SPDX-License-Identifier: GPL-2.0-only
"""make tree, make refresh: the queues as git trees, and back."""

import sys

import packages
from common import main, say, shown
from patchqueue import QUEUES


def run():
    packages.ensure(packages.BUILD_TOOLS)
    for queue in QUEUES:
        if sys.argv[1:] == ["refresh"]:
            queue.refresh()
        else:
            queue.assemble()
            say(f"{shown(queue.tree)}: git log base.. is the series; "
                "edit, commit, make refresh")


main(run)
