# SPDX-License-Identifier: GPL-2.0-only
"""The distribution's own kernel of the base's version, and a module that is built for it.

It is unpacked from its packages, not installed: nothing of the host changes.
"""

import re
import shutil

import packages
from common import (BUILD, CACHE, LOGS, ROOT, Failed, compiler_env, digest, lock, output, read,
                    remove, run)

HOME = CACHE / "distribution"
SOURCE = ROOT / "tests/stock/sva_ask.c"
REGISTERS = ROOT / "linux/include/uapi/misc/uacce/svadev.h"
SOURCES = (SOURCE, REGISTERS)


def version():
    """The base as Debian numbers it: 6.12.117-1~deb12u1."""
    match = re.match(r"linux-source-6.12_(.*)_all\.deb", packages.linux_archive().name)
    if not match:
        raise Failed("the distribution's kernel is asked only where the base is Debian's "
                     "linux-source-6.12")
    return match[1]


def release():
    """Its `uname -r` less the flavour: 6.12.117+deb12."""
    found = re.fullmatch(r"([\d.]+)-[\d.]+(?:~(deb\d+)u\d+|\+(deb\d+)u\d+)?", version())
    if not found:
        raise Failed(f"no kernel package of Debian is known for linux-source {version()}")
    return f"{found[1]}+{found[2] or found[3] or 'deb13'}"


def unpacked():
    """The kernel's packages, unpacked side by side in the cache."""
    home = HOME / version()
    with lock(CACHE / "distribution/.lock", "the distribution's kernel"):
        if not (home / "done").exists():
            unpack(home)
    return home


def unpack(home):
    names = [f"linux-image-{release()}-amd64-unsigned", f"linux-headers-{release()}-amd64",
             f"linux-headers-{release()}-common", f"linux-kbuild-{release()}"]
    remove(home)
    home.mkdir(parents=True)
    for name in names:
        deb, = packages.download(name, packages.get("download", name), None, f"{name}_*.deb")
        if "image" in name:
            output("sh", "-c", 'dpkg-deb --fsys-tarfile "$0" | tar -C "$1" -xf - ./boot', deb, home)
        else:
            output("dpkg-deb", "-x", deb, home)
        deb.unlink()
    makefile = headers(home) / "Makefile"
    makefile.write_text(read(makefile).replace("include /usr/src", f"include {home}/usr/src"))
    (home / "done").touch()


def headers(home):
    return home / f"usr/src/linux-headers-{release()}-amd64"


def kernel():
    return unpacked() / f"boot/vmlinuz-{release()}-amd64"


def module():
    """sva_ask.ko for this kernel."""
    packages.ensure(packages.BUILD_TOOLS)
    home = unpacked()
    path = BUILD / f"stock-{digest(*SOURCES, version())}"
    if not (path / "sva_ask.ko").exists():
        remove(path)
        path.mkdir(parents=True)
        for file in SOURCES:
            shutil.copy(file, path)
        (path / "Makefile").write_text("obj-m := sva_ask.o\n")
        run("module for the distribution's kernel",
            # without type information, which wants pahole
            ["make", "-C", headers(home), f"M={path}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"],
            LOGS / "stock-module.log", env=compiler_env())
    return path / "sva_ask.ko"
