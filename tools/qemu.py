# SPDX-License-Identifier: GPL-2.0-only
"""Our QEMU: built from the queue, kept in the cache with its option ROMs."""

import argparse
import os
import tempfile
from pathlib import Path

import kernel
import packages
from common import (BUILD, CACHE, JOBS, LOGS, compiler_env, digest, lock, main, output, prune,
                    read, remove, run, say, shown)
from patchqueue import QEMU

BUILDS = CACHE / "qemu"
QTESTS = {"x86_64": ("svadev-test", "vtd-inv-test", "vtd-cache-test", "vtd-hostile-test"),
          "aarch64": ("smmuv3-sva-test", "smmuv3-hostile-test", "smmuv3-stall-test")}
TARGETS = tuple(QTESTS)
ROMS = ("linuxboot_dma.bin", "kvmvapic.bin")
OPTIONS = """--disable-download --without-default-features --without-default-devices
             --enable-system --enable-tcg --enable-kvm --enable-fdt=system
             --disable-docs --disable-tools --disable-guest-agent --disable-werror
             --disable-install-blobs""".split()
# The address sanitizer ends a program with SIGABRT, which libqtest reports. Leaks count, too.
ASAN_ENV = {"ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1"}


def configure_command(asan=False, targets=TARGETS):
    # Information for debuggers is a fifth of the time that compiling takes.
    return ["../configure", f"--python={packages.PYTHON}", *OPTIONS,
            "--enable-asan" if asan else "--disable-debug-info",
            f"--target-list={','.join(f'{t}-softmmu' for t in targets)}",
            *(f"--with-devices-{t}=sva" for t in targets)]


def key(asan=False, target="x86_64"):
    tree = QEMU.git("rev-parse", f"{QEMU.snapshot()}^{{tree}}")
    return digest(tree, " ".join(configure_command(asan, [target])), target, *QTESTS[target], *ROMS)


def build(asan=False, target="x86_64"):
    """The directory that has qemu-system-<target>, its ROMs and its qtests; with `asan` those
    for qtests alone, built with the address sanitizer and to be run with ASAN_ENV."""
    QEMU.assemble()
    home = BUILDS / key(asan, target)
    if (home / "done").exists():
        os.utime(home)
        return home
    packages.ensure(packages.BUILD_TOOLS, packages.QEMU_TOOLS)
    packages.meson()
    with lock(BUILD / ".qemu.lock", "QEMU"):
        return build_locked(home, asan, target)


def build_locked(home, asan, target):
    obj = QEMU.tree / "-".join(["obj"] + [target] * (target != "x86_64") + ["asan"] * asan)
    env = dict(compiler_env(), CC="ccache gcc", PATH=packages.PATH)
    configured = obj / "configured-by"
    command = configure_command(asan, [target])
    if read(configured) != " ".join(command) or not (obj / "build.ninja").exists():
        remove(obj)
        obj.mkdir(parents=True)
        run("configure QEMU", command, LOGS / "qemu-configure.log", cwd=obj, env=env)
        configured.write_text(" ".join(command))
    wanted = [f"qemu-system-{target}"] + [f"tests/qtest/{t}" for t in QTESTS[target]]
    run(f"build QEMU for {target}" + (" with ASAN" if asan else ""),
        ["ninja", f"-j{JOBS}", *wanted],
        LOGS / f"{obj.name.replace('obj', 'qemu')}.log", cwd=obj, env=env,
        count=r"^\[(\d+)/(\d+)\]")
    with tempfile.TemporaryDirectory(dir=obj) as tmp:
        new = Path(tmp) / "new"
        new.mkdir()
        for name in wanted:
            # Reports name functions by the symbols.
            output("strip", "--strip-debug" if asan else "--strip-all", "-o",
                   new / Path(name).name, obj / name)
        if target == "x86_64":
            option_roms(new / "roms")
        (new / "done").touch()
        BUILDS.mkdir(parents=True, exist_ok=True)
        remove(home)
        new.rename(home)
    prune(BUILDS, 10)
    return home


def option_roms(into):
    """What -kernel and the local APIC load: QEMU's own source and its own Makefile."""
    into.mkdir()
    source = QEMU.tree / "pc-bios/optionrom"
    (into / "config.mak").write_text(
        f"TOPSRC_DIR={QEMU.tree}\nCC=gcc\nEXTRA_CFLAGS=-m32\nOBJCOPY=objcopy\n"
        f"PYTHON={packages.PYTHON}\nCPPFLAGS=\n")
    output("make", "-C", into, "-f", source / "Makefile", f"SRC_DIR={source}", *ROMS)
    for f in into.iterdir():
        if f.name not in ROMS:
            f.unlink()


def cli():
    parser = argparse.ArgumentParser(prog="make qemu", description="Build QEMU and its qtests.")
    parser.add_argument("--arch", default="", help="of its guests: " + " or ".join(kernel.ARCHS))
    parser.add_argument("--asan", action="store_true", help="with the address sanitizer, for qtests")
    a = parser.parse_args()
    say(f"QEMU: {shown(build(a.asan, kernel.arch(a.arch).target))}")


if __name__ == "__main__":
    main(cli)
