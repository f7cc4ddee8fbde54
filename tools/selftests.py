# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's selftests in tools/testing/selftests/iommu, and the demo's program."""

import fnmatch
import os
import re

import kernel
import packages
from common import BUILD, JOBS, LOGS, ROOT, Failed, main, output, read, remove, run, say, shown
from patchqueue import LINUX

SOURCES = ROOT / "linux/tools/testing/selftests/iommu"
SHIM = ROOT / "tests/guest/iommufd-shim.h"


def place(name, arch):
    """Of what is made for an architecture."""
    return BUILD / (name if arch is kernel.X86 else f"{name}-{arch.name}")


def environment():
    """What make may know of ours."""
    return {k: v for k, v in os.environ.items()
            if k != "ARCH" and not k.startswith(("MAKE", "MFLAGS"))}


def headers(arch=kernel.X86):
    """The tree's own uapi headers: the host's are older."""
    commit = LINUX.snapshot()
    home, obj = place("headers", arch), place("obj-headers", arch).name
    tree = LINUX.git("rev-parse", f"{commit}:include/uapi",
                     f"{commit}:arch/{arch.home}/include/uapi")
    stamp = home / "of-tree"
    if not stamp.exists() or stamp.read_text() != tree:
        packages.ensure(packages.BUILD_TOOLS)
        output("make", "-s", "-C", LINUX.tree, f"O={LINUX.tree / obj}",
               *arch.make, "headers_install", f"INSTALL_HDR_PATH={home}", env=environment())
        stamp.write_text(tree)
    return home / "include"


def make(directory, *args, arch=kernel.X86):
    """make in a directory of the kernel's selftests; programs are static, for the guests."""
    run("selftests", ["make", f"-j{JOBS}", "-C", LINUX.tree / "tools/testing/selftests" / directory,
                      f"CC={arch.gcc} -static -include {SHIM}",
                      f"KHDR_INCLUDES=-isystem {headers(arch)}", *arch.make, *args],
        LOGS / "selftests.log", env=environment(), quiet=True)


def install():
    """What `make install` of the kernel's selftests gives for iommu, run_kselftest.sh included."""
    home = BUILD / "kselftest"
    remove(home)
    make("", "TARGETS=iommu", f"OUTPUT={BUILD / 'kselftest-obj'}", f"INSTALL_PATH={home}",
         "install")
    return home


def all_programs(arch=kernel.X86):
    out = place("selftests", arch)
    out.mkdir(parents=True, exist_ok=True)
    packages.ensure(arch.packages())
    make("iommu", f"OUTPUT={out}", arch=arch)
    return sorted(p for p in out.iterdir() if p.is_file() and os.access(p, os.X_OK))


def build(pattern, arch=kernel.X86):
    """Those of a pattern, or of several."""
    found = [p for p in all_programs(arch)
             if any(fnmatch.fnmatch(p.name, one) for one in pattern.split())]
    if not found:
        raise Failed(f"no selftest program matches {pattern}")
    return found


def build_names(names, arch=kernel.X86):
    found = {p.name: p for p in all_programs(arch)}
    missing = set(names) - set(found)
    if missing:
        raise Failed(f"no selftest program {', '.join(sorted(missing))}")
    return [found[n] for n in names]


def functions(name):
    """[(what stands before the body, the body)] of the functions of a file of ours."""
    return re.findall(r"(?ms)^(\w[^\n{};]*(?:\n[^\n{};]+)*)\n\{\n(.*?)^\}", read(SOURCES / name))


def tests_of(program):
    """{fixture[.variant].test: its body} of a program of ours, as it is named when it runs."""
    variants = re.findall(r"(?m)^FIXTURE_VARIANT_ADD\((\w+), (\w+)\)", read(SOURCES / f"{program}.c"))
    found = {}
    for head, body in functions(f"{program}.c"):
        match = re.match(r"TEST(?:_SIGNAL)?\((\w+)|TEST_F\w*\((\w+),\s*(\w+)", head)
        if match and match[1]:
            found[f"global.{match[1]}"] = body
        elif match:
            names = [f".{v}" for f, v in variants if f == match[2]] or [""]
            found.update({f"{match[2]}{v}.{match[3]}": body for v in names})
    return found


def demo(arch=kernel.X86):
    """tests/guest/demo.c, static; a second, so that nobody has to know what it is made of."""
    program = place("programs", arch) / "demo"
    program.parent.mkdir(parents=True, exist_ok=True)
    home = LINUX.tree / "tools/testing/selftests/iommu"
    packages.ensure(arch.packages())
    output(arch.gcc, "-static", "-O2", "-Wall", "-D_GNU_SOURCE=", f"-I{headers(arch)}", f"-I{home}",
           "-o", program, ROOT / "tests/guest/demo.c", home / "sva_utils.c")
    return program


def cli():
    say(f"{shown(install())}: run_kselftest.sh and its programs, static, for a guest")


if __name__ == "__main__":
    main(cli)
