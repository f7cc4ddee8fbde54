# SPDX-License-Identifier: GPL-2.0-only
"""Kernels: a flavour is a source tree, config fragments, and one image in the cache."""

import argparse
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import packages
from common import (BUILD, CACHE, CC, JOBS, LOGS, ROOT, Failed, compiler_env, digest, lock, main,
                    output, prune, read, remember, run, say, shown, write_atomically)
from patchqueue import LINUX

KERNELS = CACHE / "kernels"
CONFIG = ROOT / "config"


@dataclass(frozen=True)
class Arch:
    """An architecture: how the kernel's Makefile is asked for it, and what QEMU calls it."""
    name: str
    home: str                           # its directory in the kernel's arch/
    image: str                          # what boots, in the object directory
    target: str                         # QEMU's name
    cpu: str                            # of TCG
    console: str                        # the kernel's
    tells: int                          # the least urgent level of the messages that it is to show
    prefix: str = ""                    # of its compiler
    make: tuple = ()

    @property
    def gcc(self):
        return f"{self.prefix}gcc"

    def packages(self):
        return packages.ARM_TOOLS if self.prefix else []


X86 = Arch("x86_64", "x86", "arch/x86/boot/bzImage", "x86_64", "qemu64,+pdpe1gb", "ttyS0,115200", 4)
# The CPU has addresses as wide as the emulated SMMU's, and no more. SMMUv3's driver tells events as
# mere information.
ARM = Arch("arm64", "arm64", "arch/arm64/boot/Image.gz", "aarch64", "cortex-a57", "ttyAMA0", 6,
           "aarch64-linux-gnu-", ("ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"))
ARCHS = {a.name: a for a in (X86, ARM)}
# As the kernel's Makefile, uname -m and dpkg call them.
ALSO = {"x86": X86, "amd64": X86, "aarch64": ARM}


class Flavour(NamedTuple):
    fragments: list                     # of config/, in this order
    source: str                         # "series", or how much of it: see commit_of()
    arch: Arch
    append: str                         # to the command line


def flavour(names, source="series", arch=X86, append=""):
    return Flavour(names.split(), source, arch, append)


POISON = "page_poison=1"                # freed pages hold a pattern, which nobody may change

# SMMUv3's driver waits for a command for as long as tests keep one back (SVA_HELD), and longer. In us.
PATIENT = "arm_smmu_v3.poll_timeout_us=10000000"

FLAVOURS = {
    "demo":       flavour("guest user x86_64 sva"),
    "debug":      flavour("guest x86_64 sva debug kunit kunit-x86_64", append=POISON),
    "kcsan":      flavour("guest x86_64 sva kcsan kunit"),
    "kasan":      flavour("guest x86_64 sva debug mm kasan kunit kunit-x86_64", append=POISON),
    "rt":         flavour("guest x86_64 sva debug rt kunit kunit-x86_64", append=POISON),
    "arm64":      flavour("guest arm64 sva debug kunit kunit-arm64", arch=ARM, append=f"{POISON} {PATIENT}"),
    "arm64-64k":  flavour("guest arm64 arm64-64k sva debug kunit kunit-arm64", arch=ARM,
                          append=f"{POISON} {PATIENT}"),
    "kcsan-arm64": flavour("guest arm64 sva kcsan kunit kunit-arm64", arch=ARM, append=PATIENT),
    "bench":      flavour("guest x86_64 sva bench"),
    "bench-base": flavour("guest x86_64 sva bench", "stock"),
    "bench-core": flavour("guest x86_64 sva bench", "core"),
    "bench-arm64": flavour("guest arm64 sva bench-arm64", arch=ARM),
    "bench-arm64-base": flavour("guest arm64 sva bench-arm64", "stock-arm64", ARM),
}

# Modules that `make bench` inserts; the guests of everything else have none.
MODULES = dict.fromkeys(("bench", "bench-base", "bench-core"), ["lib/test_vmalloc.ko"])

# Those that our QEMU boots with programs in them.
GUESTS = [n for n in FLAVOURS if not n.startswith("bench")]
# The one of `make demo` and `make vm`. On arm64 the kernel of the tests does, too.
DEMO = {X86: "demo", ARM: "arm64"}


def arch(name):
    """An architecture by what a person calls it; x86_64 if that is nothing."""
    found = (ARCHS | ALSO).get(name or "x86_64")
    if not found:
        raise Failed(f"ARCH={name}: there are {' and '.join(ARCHS)}")
    return found


def fragments(names):
    """The options of these fragments, in an order that comments and moves do not change. One that
    a fragment says is not set is taken out of the others."""
    lines = "\n".join(read(CONFIG / f"{n}.config") for n in names).splitlines()
    off = {m[1] for m in map(re.compile(r"# (CONFIG_\w+) is not set").match, lines) if m}
    return "".join(f"{l}\n" for l in sorted({l for l in lines if l.startswith("CONFIG_")
                                             and l.split("=")[0] not in off}))


# What "stock-arm64" has of the series' files, at their in-tree paths, and its own patch.
SMMU_FILES = [f"drivers/iommu/arm/arm-smmu-v3/kunit-{name}" for name in
              ("bench.c", "caches.c", "machine.c", "mock.c", "mock.h", "text.c")]
SMMU_HOOKS = ROOT / "bench/stock-arm64.patch"


def commit_of(kind):
    """Where the series is when it has got so far. "stock": the base plus only what lets its SVA be
    asked, the leading section test/. "stock-arm64": that and the instances that SMMUv3's driver is
    measured on. "core": SVA is on, and VT-d is not on the attach list yet."""
    if kind == "stock-arm64":
        return LINUX.extended(commit_of("stock"), SMMU_FILES, SMMU_HOOKS)
    LINUX.assemble()
    sections = [step.section for step in LINUX.steps()]
    if kind == "stock":
        count = next((n for n, s in enumerate(sections) if s != "test"), len(sections))
    else:
        count = len(sections) - sections[::-1].index(kind)
    return LINUX.git("rev-parse", f"refs/sva/assembled~{len(sections) - count}")


def source(kind):
    """The source tree of a flavour, and a key for its content."""
    if kind == "series":
        return LINUX.tree, LINUX.git("rev-parse", f"{LINUX.snapshot()}^{{tree}}")
    commit = commit_of(kind)
    tree = LINUX.git("rev-parse", f"{commit}^{{tree}}")
    return LINUX.worktree(BUILD / f"linux-{kind}", commit), tree


def configure(tree, obj, wanted, env, make):
    """allnoconfig plus fragments; an option that did not come on is an error."""
    merged = obj / "wanted.config"
    write_atomically(merged, wanted)
    output(*make, "-s", f"KCONFIG_ALLCONFIG={merged}", "allnoconfig", cwd=tree, env=env)
    have = set(read(obj / ".config").splitlines())
    lost = sorted({l for l in wanted.splitlines() if l.startswith("CONFIG_")} - have)
    known = {l.split("=")[0] for l in have} | {f"CONFIG_{n}" for n in symbols(tree)}
    return [l for l in lost if l.split("=")[0] in known]


def symbols(tree):
    """Options that the tree declares; a fragment may name one that a later patch adds."""
    r = subprocess.run(["git", "grep", "-hoE", r"^(menu)?config [A-Z0-9_]+", "--", "*Kconfig*"],
                       cwd=tree, text=True, stdout=subprocess.PIPE)
    return {l.split()[1] for l in r.stdout.splitlines()}


class Builder:
    """A flavour's object directory in a work tree of the series, which moves from commit to commit.
    `more` are fragments besides the flavour's."""
    # The compiler flags of W=1, as in make check, so that ccache serves both, but without the
    # script that reads each file's kernel-doc.
    QUICK = ("W=1", "cmd_checkdoc=")

    def __init__(self, flavour, tree, obj=None, more=(), options=QUICK, depend=True):
        names, _, self.arch, _ = FLAVOURS[flavour]
        self.flavour, self.tree, self.obj = flavour, tree, tree / (obj or f"obj-{flavour}")
        self.wanted = fragments([*names, *more])
        self.options = (*options, f"LOCALVERSION=-{flavour}")
        self.env, self.at = compiler_env(), None
        if not depend:
            del self.env["CCACHE_DEPEND"]

    def command(self, *args):
        """make in the object directory; options and targets follow."""
        return ["make", "-C", self.tree, f"O={self.obj.name}", f"CC={CC} {self.arch.gcc}",
                *self.options, *self.arch.make, *args]

    def configure(self):
        lost = configure(self.tree, self.obj, self.wanted, self.env, self.command())
        if lost:
            raise Failed(f"the {self.flavour} kernel's config lacks {', '.join(lost)} "
                         f"(dependencies?); see config/ and {shown(self.obj / '.config')}")

    def go(self, commit):
        """Check a commit out, and configure it."""
        if self.at != commit:
            LINUX.worktree(self.tree, commit)
            self.configure()
            self.at = commit

    def make(self, title, log, *targets, **how):
        """Run make; `how` is for run()."""
        return run(title, self.command(f"-j{JOBS}", *targets), log, env=self.env, **how)

    @property
    def image(self):
        return self.obj / self.arch.image

    def build(self):
        """The image and the modules, with progress; the files made, the image last."""
        modules = MODULES.get(self.flavour, ())
        self.configure()
        lines = self.make(f"build the {self.flavour} kernel", LOGS / f"kernel-{self.flavour}.log",
                          self.image.name, *(["modules"] if modules else []),
                          total=remember(f"kernel-{self.flavour}") or 1700, count=r"^  [A-Z]+ +\S")
        if lines > 500:
            remember(f"kernel-{self.flavour}", lines)
        return [*(self.obj / m for m in modules), self.image]


def build(flavour):
    """The image of a flavour; from the cache if nothing that it is made from changed."""
    names, kind, arch, _ = FLAVOURS[flavour]
    packages.ensure(packages.BUILD_TOOLS, arch.packages())
    tree, key = source(kind)
    wanted = fragments(names)
    compiler = output(arch.gcc, "--version").splitlines()[0]
    image = KERNELS / f"{flavour}-{digest(key, wanted, compiler)}"
    parts = [*modules(flavour, image), image]
    if all(part.exists() for part in parts):
        for part in parts:
            os.utime(part)
        return image
    with lock(BUILD / f".kernel-{flavour}.lock", f"the {flavour} kernel"):
        made = Builder(flavour, tree).build()
    if source(kind)[1] != key:
        raise Failed(f"{shown(tree)} changed while the {flavour} kernel was built; run it again")
    for part, file in zip(parts, made):
        write_atomically(part, file.read_bytes())
    prune(KERNELS, 16)
    return image


def modules(flavour, image):
    """Where the modules of an image that build() returned are."""
    return [image.with_name(f"{image.name}.{Path(m).name}") for m in MODULES.get(flavour, ())]


def chosen(names, wanted):
    """The flavours of these names; without any those of an architecture, or of all."""
    unknown = [n for n in names if n not in FLAVOURS]
    if unknown:
        raise Failed(f"no kernel flavour '{unknown[0]}'; there are {', '.join(FLAVOURS)}")
    other = [n for n in names if wanted and FLAVOURS[n].arch is not arch(wanted)]
    if other:
        raise Failed(f"FLAVOUR={other[0]} is one for {FLAVOURS[other[0]].arch.name}, and "
                     f"ARCH={wanted} was asked for")
    return names or [n for n in GUESTS if not wanted or FLAVOURS[n].arch is arch(wanted)]


def cli():
    parser = argparse.ArgumentParser(prog="make kernel")
    parser.add_argument("--arch", default="", help=" or ".join(ARCHS))
    parser.add_argument("flavours", nargs="*")
    a = parser.parse_args()
    for flavour in chosen(" ".join(a.flavours).split(), a.arch):
        say(f"{flavour}: {shown(build(flavour))}")


if __name__ == "__main__":
    main(cli)
