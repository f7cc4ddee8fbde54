# SPDX-License-Identifier: GPL-2.0-only
"""make help."""

import kernel
from common import CACHE, bold, main, say, shown

TARGETS = [
    ("demo", "from nothing to a device working on malloc'd memory; ARCH=arm64 too", "7 min", "8 s"),
    ("test", "what CI runs; SUITE=a,b for some, TEST= for one test of them", "18 min", "7 min"),
    ("test-all", "every suite; those that passed only when a part of them changed", "", ""),
    ("test-list", "the suites", "", ""),
    ("kselftest", "the kernel's selftests of iommu, installed in build/kselftest", "2 min", "3 s"),
    ("bench", "the base's way against the series': a table, CSV and plots in\n"
              "build/bench, with SAVE=1 in doc/bench, too; ONLY=vtd,smmu,.. for some", "", ""),
    ("vm", "a shell in a guest with SVA, or ADD=\"files\" RUN=\"command\"\n"
           f"ARCH=x86_64|arm64 UNITS= DEVICES= CPUS= MEMORY= KERNEL={'|'.join(kernel.GUESTS)}\n"
           "SVADEV=\"ats=off,pri=off\" UNIT=\"x-ril=off\" APPEND= TIMEOUT=", "7 min", "8 s"),
    ("tree", "build/linux-6.12 and build/qemu-10.0: git trees, a commit a patch", "1 min", "1 s"),
    ("refresh", "take these trees' commits back into patches/, linux/ and qemu/", "", "3 s"),
    ("check", "every patch: checkpatch, W=1, sparse, x86_64 and arm64, boots;\n"
              "and the Spin models; PATCH=fixes/ for some", "", ""),
    ("mutants", "break the series in many places: does the test for each notice?\n"
                "MUTANT=a,b for some; SAMPLE=120 makes others itself, and counts those\n"
                "that survive (SEED=2 for others, FILES=glob,.. for more of some, GUESTS=1)", "", ""),
    ("fetch", "look for newer bases; without it the cache serves", "10 s", ""),
    ("kernel", f"build one flavour: FLAVOUR={'|'.join(kernel.FLAVOURS)}", "4 min", "1 s"),
    ("qemu", "build QEMU, ARCH=arm64 for its guests", "2 min", "1 s"),
    ("clean", "remove build/ (refuses to lose edits there)", "", "2 s"),
    ("distclean", "that, and the cache: downloads, compiled kernels, QEMU, ccache", "", "2 s"),
]


def cli():
    say(f"{'':84}{'first':>7} {'again':>6}")
    for name, about, first, again in TARGETS:
        line, *more = about.split("\n")
        say(f"{bold(f'make {name}'.ljust(17))}{line:67}{first:>7} {again:>6}")
        for line in more:
            say(f"{'':17}{line}")
    say("\nTimes on 2 cores without KVM. Those left out build many kernels, and resume. Downloads and\n"
        f"builds are kept in {shown(CACHE)} (SVA_CACHE or XDG_CACHE_HOME move it; deleting it is always\n"
        "safe). JOBS= sets the parallelism; ACCEL=kvm uses /dev/kvm for the guests.")


main(cli)
