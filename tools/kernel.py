# SPDX-License-Identifier: GPL-2.0-only
"""Kernels: a flavour is a source tree, config fragments, and one image in the cache."""

import os
import re
import subprocess
import sys

import packages
from common import (BUILD, CACHE, JOBS, LOGS, ROOT, Failed, Progress, compiler_env, digest, lock,
                    main, output, prune, read, remember, run, say, shown, write_atomically)
from patchqueue import LINUX

KERNELS = CACHE / "kernels"
CONFIG = ROOT / "config"

#          fragments, in this order                 source
FLAVOURS = {
    "demo":  ("guest x86_64 sva".split(),           "series"),
    "stock": ("guest x86_64 sva".split(),           "stock"),
    "debug": ("guest x86_64 sva debug kva".split(), "series"),
}


def fragments(names):
    """The options of these fragments, in an order that comments and moves do not change."""
    lines = "\n".join(read(CONFIG / f"{n}.config") for n in names).splitlines()
    return "".join(f"{l}\n" for l in sorted({l for l in lines if l.startswith("CONFIG_")}))


def stock_commit():
    """The base plus only what lets its SVA be asked: the leading section test/."""
    LINUX.assemble()
    count = 0
    for step in LINUX.steps():
        if step.section != "test":
            break
        count += 1
    total = len(LINUX.steps())
    return LINUX.git("rev-parse", f"refs/sva/assembled~{total - count}")


def source(kind):
    """The source tree of a flavour, and a key for its content."""
    LINUX.assemble()
    if kind == "series":
        tree = LINUX.tree
        changed = LINUX.git("status", "--porcelain", "-uno")
        key = LINUX.git("rev-parse", "HEAD^{tree}")
        return tree, digest(key, LINUX.git("diff", "HEAD")) if changed else key
    commit = stock_commit()
    return worktree(BUILD / "linux-stock", commit), LINUX.git("rev-parse", f"{commit}^{{tree}}")


def worktree(path, commit):
    """A second checkout of the queue's repository, at a commit."""
    if not (path / ".git").exists():
        LINUX.git("worktree", "prune")
        progress = Progress(f"check out {path.name}")
        LINUX.git("worktree", "add", "-f", "--detach", path, commit)
        progress.done()
    elif output("git", "rev-parse", "HEAD", cwd=path) != commit:
        output("git", "checkout", "-q", "--force", "--detach", commit, cwd=path)
    return path


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


def build(flavour, target="bzImage"):
    """The image of a flavour; from the cache if nothing that it is made from changed."""
    names, kind = FLAVOURS[flavour]
    tree, key = source(kind)
    wanted = fragments(names)
    compiler = output("gcc", "--version").splitlines()[0]
    image = KERNELS / f"{flavour}-{digest(key, wanted, compiler)}"
    if image.exists():
        os.utime(image)
        return image
    packages.ensure(packages.BUILD_TOOLS)
    with lock(BUILD / f".kernel-{flavour}.lock", f"the {flavour} kernel"):
        made = build_locked(flavour, tree, wanted, target)
    if source(kind)[1] != key:
        raise Failed(f"{shown(tree)} changed while the {flavour} kernel was built; run it again")
    write_atomically(image, made.read_bytes())
    prune(KERNELS, 16)
    return image


def build_locked(flavour, tree, wanted, target):
    env = compiler_env()
    obj = tree / f"obj-{flavour}"
    make = ["make", "-C", tree, f"O={obj.name}", "CC=ccache gcc", f"LOCALVERSION=-{flavour}"]
    lost = configure(tree, obj, wanted, env, make)
    if lost:
        raise Failed(f"the {flavour} kernel's config lacks {', '.join(lost)} (dependencies?); "
                     f"see config/ and {shown(obj / '.config')}")
    log = LOGS / f"kernel-{flavour}.log"
    lines = run(f"build the {flavour} kernel", [*make, f"-j{JOBS}", target], log, env=env,
                total=remember(f"kernel-{flavour}") or 2300, count=r"^  [A-Z]+ +\S")
    if lines > 500:
        remember(f"kernel-{flavour}", lines)
    if re.search(r"warning: ", read(log)):
        say(f"  note: compiler warnings, see {shown(log)}")
    return obj / "arch/x86/boot" / target


def cli():
    for flavour in sys.argv[1:] or FLAVOURS:
        if flavour not in FLAVOURS:
            raise Failed(f"no kernel flavour '{flavour}'; there are {', '.join(FLAVOURS)}")
        say(f"{flavour}: {shown(build(flavour))}")


if __name__ == "__main__":
    main(cli)
