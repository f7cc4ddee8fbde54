# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages: what the tools need on this host, and the two base sources.

Everything is reached through the package client with the machine's own
configuration. Where another suite is needed (QEMU's source, a newer meson), a
private list is derived from the entry that serves this host's own suite; the
machine's configuration is never changed.
"""

import os
import re
import shutil
import subprocess

from common import CACHE, LOGS, Failed, main, output, read, run, say

BUILD_TOOLS = """ccache gcc make flex bison bc libelf-dev libssl-dev cpio kmod xz-utils rsync
                 git perl python3 dpkg-dev pkg-config""".split()
QEMU_TOOLS = "ninja-build python3-venv libglib2.0-dev libfdt-dev zlib1g-dev gcc".split()
GUEST_TOOLS = "busybox-static seabios libc6-dev".split()
ARM_GUEST_TOOLS = ["qemu-system-arm"]
ARM_TOOLS = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross".split()
BENCH_TOOLS = ["gnuplot-nox"]
CHECK_TOOLS = "sparse spin python3-ply python3-git".split() + ARM_TOOLS

DOWNLOADS = CACHE / "downloads"
QEMU_SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MESON_WANTED = (1, 5)


def missing(names):
    r = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
                       text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    have = {l.split()[0] for l in r.stdout.splitlines() if l.endswith(" installed")}
    return sorted(set(names) - have)


def root_command():
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if shutil.which("sudo") else None


def apt(title, *args, log="apt.log"):
    prefix = root_command()
    if prefix is None:
        raise Failed("packages are missing and there is neither root nor sudo; as root run:\n"
                     f"  apt-get {' '.join(args)}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run(title, [*prefix, "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", *args],
        LOGS / log, env=env)


def ensure(*groups):
    """Install what is missing of these packages."""
    if not shutil.which("dpkg-query"):
        raise Failed("this host is no Debian; README.md says what to install by hand "
                     "(SVA_NO_INSTALL=1 then skips this step)")
    names = missing(sorted({n for g in groups for n in g}))
    if not names or os.environ.get("SVA_NO_INSTALL"):
        return
    say(f"installing {len(names)} Debian packages: {' '.join(names)}")
    try:
        apt("package lists", "update")
        apt("packages", "install", "--no-install-recommends", *names)
    except Failed as e:
        raise Failed(f"{e}\nWithout network, install these by hand: {' '.join(names)}") from None


def host_release():
    fields = dict(l.split("=", 1) for l in read("/etc/os-release").splitlines() if "=" in l)
    return fields.get("VERSION_CODENAME", "").strip('"')


def private_apt(lists):
    """An apt configuration of our own; `lists` are (type, suite) pairs."""
    home = CACHE / "apt"
    for d in ("lists/partial", "cache/archives/partial"):
        (home / d).mkdir(parents=True, exist_ok=True)
    rows = output("apt-get", "indextargets", "--format",
                  "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages").splitlines()
    mine = next((r.split() for r in rows if r.split()[:2] == [host_release(), "main"]), None)
    if not mine:
        raise Failed("no package source of this host serves its own suite's main component; "
                     "run apt-get update, or look at its list of sources")
    signed = f"[signed-by={KEYRING}] " if os.path.exists(KEYRING) else ""
    (home / "sources.list").write_text(
        "".join(f"{kind} {signed}{mine[2]} {suite} main\n" for kind, suite in lists))
    (home / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{home}/sources.list";\nDir::Etc::SourceParts "/nonexistent";\n'
        f'Dir::State::Lists "{home}/lists";\nDir::Cache "{home}/cache";\n'
        'APT::Sandbox::User "root";\nAcquire::Languages "none";\n')
    return dict(os.environ, APT_CONFIG=str(home / "apt.conf"))


def download(title, steps, env, patterns):
    """Run package client commands in a directory whose half files they can resume,
    then move what came, whole, into the cache. Returns the files."""
    part = DOWNLOADS / ".part"
    part.mkdir(parents=True, exist_ok=True)
    for i, command in enumerate(steps):
        run(f"{title}{': lists' if i < len(steps) - 1 else ''}",
            [*command[:1], "-o", "APT::Sandbox::User=root", *command[1:]],
            LOGS / f"{title.replace(' ', '-')}.log", cwd=part, env=env)
    came = [f for p in patterns for f in sorted(part.glob(p))]
    if not came:
        raise Failed(f"{title}: the package client succeeded, but no {' '.join(patterns)} came")
    for f in came:
        f.rename(DOWNLOADS / f.name)
    return [DOWNLOADS / f.name for f in came]


def version_key(path):
    return [int(n) for n in re.findall(r"\d+", path.name)]


def newest(pattern):
    found = sorted(DOWNLOADS.glob(pattern), key=version_key)
    return found[-1] if found else None


def linux_archive(refresh=False):
    """The base's source package (.deb), newest 6.12 that this host's suites have."""
    pattern = "linux-source-6.12_6.12.*.deb"
    have = newest(pattern)
    if have and not refresh:
        return have
    return fetched("linux-source-6.12", pattern, have, [
        ["apt-get", "-q", "update"], ["apt-get", "-q", "download", "linux-source-6.12"]], None)


def qemu_archive(refresh=False):
    """QEMU's source package (.dsc) of Debian stable: any 10.0."""
    pattern = "qemu_10.0.*.dsc"
    have = newest(pattern)
    if have and not refresh:
        return have
    env = private_apt([("deb-src", QEMU_SUITE)])
    return fetched("qemu source", pattern, have, [
        ["apt-get", "-q", "update"],
        ["apt-get", "-q", "source", "--download-only", f"qemu/{QEMU_SUITE}"]], env, "qemu_*")


def fetched(title, pattern, have, steps, env, files=None):
    try:
        if root_command() is None and env is None:
            steps = steps[1:]           # lists of the machine need root
        elif env is None:
            steps[0] = root_command() + steps[0]
        got = download(title, steps, env, [files or pattern])
    except Failed as e:
        if have:
            say(f"  {title} could not be fetched; going on with {have.name} from the cache")
            return have
        raise Failed(f"{e}\n{title} could not be fetched and the cache has none. The first run "
                     "needs the Debian package pool; afterwards the cache serves.") from None
    if not any(f.match(pattern) for f in got):
        raise Failed(f"{title}: wanted {pattern}, the pool now has "
                     f"{', '.join(f.name for f in got)}. The queue is written for that series; "
                     "see 'Moving to a newer base' in doc/hacking.md")
    return newest(pattern)


def meson():
    """QEMU 10.0 wants meson 1.5; Debian 12 has it in backports only."""
    if os.environ.get("SVA_NO_INSTALL"):
        return
    have = output("/usr/bin/meson", "--version", check=False) if os.path.exists("/usr/bin/meson") \
        else "0"
    if tuple(int(n) for n in re.findall(r"\d+", have)[:2]) >= MESON_WANTED:
        return
    suite = host_release()
    deb = newest("meson_*.deb")
    if not deb:
        env = private_apt([("deb", f"{suite}-backports")])
        deb = fetched("meson", "meson_*.deb", None, [
            ["apt-get", "-q", "update"], ["apt-get", "-q", "download", "meson"]], env)
    apt("meson from backports", "install", "--no-install-recommends", str(deb))


def fetch():
    """`make fetch`: ask for newer bases; keep the old ones."""
    for title, get in (("Linux", linux_archive), ("QEMU", qemu_archive)):
        before = get(refresh=False)
        after = get(refresh=True)
        say(f"{title} base: {after.name}" + ("" if before == after else f" (was {before.name})"))


if __name__ == "__main__":
    main(fetch)
