# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages: what the tools need on this host, and the two base sources.

Everything is reached through the package client with the machine's own
configuration. Where another suite is needed (QEMU's source, a newer meson), a
private list is derived from the entry that serves this host's own suite; the
machine's configuration is never changed.
"""

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

from common import (BUILD, CACHE, LOGS, ROOT, Failed, claim_cache, main, output, read, run, say,
                    shown)

BUILD_TOOLS = """ccache gcc make flex bison bc libelf-dev libssl-dev cpio kmod xz-utils rsync
                 git perl python3 dpkg-dev pkg-config""".split()
QEMU_TOOLS = "ninja-build python3-venv libglib2.0-dev libfdt-dev zlib1g-dev gcc".split()
GUEST_TOOLS = "busybox-static seabios libc6-dev".split()
ARM_TOOLS = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross".split()
BENCH_TOOLS = ["gnuplot-nox"]
KUNIT_ARM_TOOLS = ["qemu-system-arm"]
CHECK_TOOLS = "sparse spin python3-ply python3-git".split() + ARM_TOOLS

# Debian's own python3 and meson before others: their modules are packages, too.
PATH = f"/usr/bin:{os.environ.get('PATH', '')}"
PYTHON = shutil.which("python3", path=PATH) or sys.executable
DOWNLOADS = CACHE / "downloads"
QEMU_SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MESON_WANTED = (1, 5)
BUSYBOX_ARM64 = "busybox-static_*_arm64.deb"


def missing(names):
    r = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
                       text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    have = {l.split()[0] for l in r.stdout.splitlines() if l.endswith(" installed")}
    return sorted(set(names) - have)


@functools.cache
def root_command():
    """What goes before a command that wants root; None where sudo would ask for a password."""
    if os.geteuid() == 0:
        return []
    works = shutil.which("sudo") and not subprocess.run(
        ["sudo", "-n", "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL).returncode
    return ["sudo", "-n"] if works else None


def may_become_root(doing):
    """Say what a person has to run where sudo would ask for a password that nobody can type."""
    prefix = root_command()
    if prefix is None:
        raise Failed("packages are missing, and neither is this root nor does sudo work without a "
                     f"password; as root run:\n  apt-get {doing}\n"
                     "or 'sudo -v' first, then this again")
    return prefix


def apt(title, *args, log="apt.log"):
    prefix = may_become_root(" ".join(args))
    run(title, [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y",
                "-o", "DPkg::Lock::Timeout=120", *args], LOGS / log)


def ensure(*groups):
    """Install what is missing of these packages."""
    claim_cache()
    if platform.machine() not in ("x86_64", "AMD64"):
        raise Failed(f"this host is {platform.machine()}; the guests' kernels and programs are "
                     "compiled with the host's own compiler, which has to be one for x86-64")
    if os.environ.get("SVA_NO_INSTALL"):
        return
    if not shutil.which("dpkg-query") or system().get("ID") != "debian":
        raise Failed(f"this host is not Debian but {system().get('PRETTY_NAME', 'unknown')}. Install "
                     "what 'What a host needs' in README.md lists, and set SVA_NO_INSTALL=1")
    names = missing(sorted({n for g in groups for n in g}))
    if not names:
        return
    say(f"installing {len(names)} Debian packages: {' '.join(names)}")
    may_become_root(f"install --no-install-recommends {' '.join(names)}")
    try:
        apt("package lists", "update")
        apt("packages", "install", "--no-install-recommends", *names)
    except Failed as e:
        raise Failed(f"{e}\nWithout network, install these by hand: {' '.join(names)}") from None


def system():
    """/etc/os-release as a dictionary."""
    fields = dict(l.split("=", 1) for l in read("/etc/os-release").splitlines() if "=" in l)
    return {k: v.strip('"') for k, v in fields.items()}


def host_release():
    return system().get("VERSION_CODENAME", "")


def private_apt(lists, architecture=""):
    """An apt configuration of our own; `lists` are (type, suite) pairs. An architecture is one
    besides the host's, whose packages are downloaded and not installed."""
    claim_cache()
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
        (f'APT::Architectures {{ "{architecture}"; }};\n' if architecture else "") +
        f'Dir::Etc::SourceList "{home}/sources.list";\nDir::Etc::SourceParts "/nonexistent";\n'
        f'Dir::State::Lists "{home}/lists";\nDir::Cache "{home}/cache";\n'
        'APT::Sandbox::User "root";\nAcquire::Languages "none";\n')
    return dict(os.environ, APT_CONFIG=str(home / "apt.conf"))


def download(title, command, env, pattern):
    """Run a package client's download in a directory whose half files it can resume, then move
    what came, whole, into the cache. Returns the files."""
    claim_cache()
    part = DOWNLOADS / ".part" / title
    part.mkdir(parents=True, exist_ok=True)
    run(title, command, LOGS / f"{title.replace(' ', '-')}.log", cwd=part, env=env)
    came = sorted(part.glob(pattern))
    if not came:
        raise Failed(f"{title}: the package client succeeded, but no {pattern} came")
    for f in came:
        f.rename(DOWNLOADS / f.name)
    return [DOWNLOADS / f.name for f in came]


def version_key(path):
    return [int(n) for n in re.findall(r"\d+", path.name)]


def newest(pattern):
    found = sorted(DOWNLOADS.glob(pattern), key=version_key)
    return found[-1] if found else None


def recorded_base(queue):
    """The base's version that a queue was last tested on: '# base: 6.12.117' in its series."""
    match = re.search(r"(?m)^# base: (\S+)$", read(ROOT / "patches" / queue / "series"))
    return match[1] if match else ""


def get(*args):
    """apt-get without the user that only root's own downloads can change to."""
    return ["apt-get", "-q", "-o", "APT::Sandbox::User=root", *args]


def new_lists(title, env=None):
    """Ask for the package lists; those of the machine only where we may write them."""
    prefix = [] if env else root_command()
    if prefix is not None:
        run(title, [*prefix, *get("update")], LOGS / f"{title.replace(' ', '-')}.log", env=env)


def offered(package, version, env=None):
    """The version of a package in the lists that is a base's version; empty if none is."""
    rows = output("apt-cache", "madison", package, env=env, check=False).splitlines()
    versions = [row.split("|")[1].strip() for row in rows]
    wanted = rf"(\d+:)?{re.escape(version)}[-+]"          # qemu's has an epoch
    return next((v for v in versions if version and re.match(wanted, v)), "")


class Archive:
    """A base's source as a Debian package in the cache. The version that the series records is
    preferred, since that is the one its patches were tested on; else the newest of its line."""

    def __init__(self, queue, package, name, upstream, line, wanted, suite=None):
        self.queue, self.package = queue, package
        self.name, self.line = name, line               # "qemu_{}.dsc", "10.0.*"
        self.upstream = upstream                        # its authors' archive, if put there
        self.wanted, self.suite = wanted, suite         # an apt-get command; of another suite
        self.asked = False

    @property
    def pattern(self):
        return self.name.format(self.line)

    def recorded(self):
        """The archive of the recorded base, if it is in the cache."""
        version = recorded_base(self.queue)
        return version and (newest(self.name.format(f"{version}[-+]*"))
                            or newest(self.upstream.format(version)))

    def have(self):
        return self.recorded() or newest(self.pattern) or newest(self.upstream.format(self.line))

    def __call__(self, refresh=False):
        """The file; fetched if the one recorded is not there, or if newer ones are asked for."""
        have = self.have()
        if have and not refresh and (have == self.recorded() or self.asked):
            return have
        self.asked = True               # once a run, if the pool does not have it
        return fetched(self.package, self.pattern, have, lambda: self.fetch(refresh))

    def fetch(self, refresh):
        version = "" if refresh else recorded_base(self.queue)
        env = private_apt([("deb-src", self.suite)]) if self.suite else None
        exact = "" if self.suite else offered(self.package, version)
        if not exact:
            new_lists(f"{self.package} lists", env)
            exact = offered(self.package, version, env)
        if version and not exact:
            newer = self.have()
            say(f"  note: patches/{self.queue} was tested on {version}, which the package pool does "
                f"not have any more; taking {newer.name if newer else 'its newest'}")
            if newer:
                return [newer]
        which = f"{self.package}={exact}" if exact else \
            self.package + (f"/{self.suite}" if self.suite else "")
        files = f"{self.package}_*" if self.suite else self.pattern
        try:
            return download(self.package, get(*self.wanted, which), env, files)
        except Failed:
            new_lists(f"{self.package} lists", env)     # those of the machine may be old
            return download(self.package, get(*self.wanted, which), env, files)


linux_archive = Archive("linux-6.12", "linux-source-6.12", "linux-source-6.12_{}.deb",
                        "linux-{}.tar.xz", "6.12.*", ["download"])
qemu_archive = Archive("qemu-10.0", "qemu", "qemu_{}.dsc", "qemu-{}.tar.xz", "10.0.*",
                       ["source", "--download-only"], QEMU_SUITE)


def fetched(title, pattern, have, fetch):
    """What `fetch` brings into the cache; what is there serves where that fails."""
    try:
        got = fetch()
    except Failed as e:
        if have:
            say(f"  {title} could not be fetched; going on with {have.name} from the cache")
            return have
        raise Failed(f"{e}\n{title} could not be fetched and the cache has none. The first run "
                     "needs the Debian package pool; afterwards the cache serves.") from None
    if not any(f.match(pattern) for f in got):
        raise Failed(f"{title}: wanted {pattern}, the pool now has "
                     f"{', '.join(f.name for f in got)}. The queue is written for that series; "
                     "see 'Move to a newer 6.12.y' in doc/hacking.md")
    return max((f for f in got if f.match(pattern)), key=version_key)


def meson():
    """QEMU 10.0 wants meson 1.5; Debian 12 has it in backports only."""
    if os.environ.get("SVA_NO_INSTALL"):
        return
    meson = shutil.which("meson", path=PATH)
    have = output(meson, "--version", check=False) if meson else "0"
    if tuple(int(n) for n in re.findall(r"\d+", have)[:2]) >= MESON_WANTED:
        return
    env = private_apt([("deb", f"{host_release()}-backports")])

    def fetch():
        new_lists("meson lists", env)
        return download("meson", get("download", "meson"), env, "meson_*.deb")
    deb = newest("meson_*.deb") or fetched("meson", "meson_*.deb", None, fetch)
    apt("meson from backports", "install", "--no-install-recommends", str(deb))


def busybox_arm64():
    """Debian's static busybox for arm64, out of its package: nothing is installed."""
    def fetch():
        env = private_apt([("deb", host_release())], "arm64")
        new_lists("busybox lists", env)
        return download("busybox", get("download", "busybox-static:arm64"), env, BUSYBOX_ARM64)
    deb = newest(BUSYBOX_ARM64)
    if not deb and (os.environ.get("SVA_NO_INSTALL") or not shutil.which("apt-get")):
        raise Failed(f"a guest of arm64 needs a static busybox: put Debian's {BUSYBOX_ARM64} into "
                     f"{shown(DOWNLOADS)}")
    deb = deb or fetched("busybox", BUSYBOX_ARM64, None, fetch)
    home = BUILD / deb.stem
    if not home.exists():
        with tempfile.TemporaryDirectory(prefix=f".{deb.stem}.", dir=BUILD) as tmp:
            output("dpkg-deb", "-x", deb, f"{tmp}/all")
            os.rename(f"{tmp}/all", home)
    return program_of(home)


def program_of(home):
    """busybox in its unpacked package; /bin is a link of the system's where it is one into /usr."""
    found = [p for p in (home / "bin/busybox", home / "usr/bin/busybox") if p.is_file()]
    if not found:
        raise Failed(f"no busybox in {shown(home)}")
    return found[0]


def fetch():
    """`make fetch`: ask for newer bases; keep the old ones."""
    for title, archive in (("Linux", linux_archive), ("QEMU", qemu_archive)):
        used, newer = archive(), archive(refresh=True)
        say(f"{title} base: {used.name}" + ("" if used == newer else f"; newer: {newer.name}. "
            "'Move to a newer 6.12.y' in doc/hacking.md says how to change to it"))


if __name__ == "__main__":
    main(fetch)
