# SPDX-License-Identifier: GPL-2.0-only
"""What every program behind `make` shares: places, messages, running commands."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LOGS = BUILD / "logs"
CACHE = Path(os.environ.get("SVA_CACHE") or
             Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linux-sva"
             ).absolute()
# What the tools put there. Nothing else below CACHE is ever removed.
CACHED = ("apt", "ccache", "check", "distribution", "downloads", "estimates", "kernels", "qemu",
          "results")
MARKER = CACHE / "CACHEDIR.TAG"
OWNER = "The cache of linux-sva"
VERDICTS = CACHE / "check"
GIGABYTE = 10**9
JOBS = int(os.environ.get("JOBS", "").strip() or os.cpu_count() or 1)
TTY = sys.stdout.isatty()


def bold(text):
    return f"\033[1m{text}\033[0m" if TTY else text


class Failed(Exception):
    """Something a person has to read; printed without a traceback."""


def say(text=""):
    print(text, flush=True)


def main(function):
    """Run a tool: its exit status, its errors and Ctrl-C as a shell expects them."""
    def terminated(number, frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, terminated)
    try:
        sys.exit(function())
    except KeyboardInterrupt:
        say("\ninterrupted; the next run resumes where this one was")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except (Failed, OSError) as e:
        if not isinstance(e, Failed) and not program_of(e) and e.errno != errno.ENOSPC:
            raise
        say(f"\nerror: {missing_program(e) or e}")
        full()
        sys.exit(1)


# Debian's package of a program, where it has another name.
PACKAGE_OF = {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "apt-get": "apt",
              "dpkg-deb": "dpkg", "dpkg-query": "dpkg", "dpkg-source": "dpkg-dev",
              "gnuplot": "gnuplot-nox", "ld": "binutils", "modprobe": "kmod",
              "ninja": "ninja-build", "objcopy": "binutils",
              "qemu-system-aarch64": "qemu-system-arm", "strip": "binutils", "tar": "tar",
              "xz": "xz-utils"}


def program_of(e):
    """The program that could not be started, if that is what an error says: no path is a bare
    name, and no file of ours is opened by one."""
    name = str(getattr(e, "filename", None) or "")
    return name if isinstance(e, FileNotFoundError) and name and "/" not in name else None


def missing_program(e):
    name = program_of(e)
    return name and (f"the program '{name}' is missing; install the package "
                     f"'{PACKAGE_OF.get(name, name)}' (Debian's name)")


def free(path):
    """Bytes that the file system of a directory, which need not exist, has left."""
    return shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free


def full():
    """If a disk is full, that is why something failed, whatever its message was."""
    for path in (BUILD, CACHE):
        if free(path) < GIGABYTE / 10:
            say(f"  {shown(path)} is on a disk that is full: make room there and run this again; "
                "it goes on where it was")


def room(build, cache):
    """Refuse to begin from nothing where what it takes, in GB, has no room."""
    wanted = {}
    for path, size in ((BUILD, build), (CACHE, cache)):
        disk = next(p for p in (path, *path.parents) if p.exists()).stat().st_dev
        first, sum_of = wanted.get(disk, (path, 0))
        wanted[disk] = first, sum_of + size
    for path, size in wanted.values():
        if free(path) < size * GIGABYTE:
            raise Failed(f"the disk of {shown(path)} has {free(path) / GIGABYTE:.1f} GB left; what "
                         f"is kept there needs {size:.0f} GB. Make room, or move it: build/ with "
                         "the clone, the cache with SVA_CACHE=")


def cache_is_ours():
    return MARKER.is_file() and OWNER in read(MARKER)


def claim_cache():
    """Mark the cache's directory as ours, so that `make distclean` can know it. One that holds
    something else is refused: our files do not go in between."""
    if cache_is_ours():
        return
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        there = {p.name for p in CACHE.iterdir()} - set(CACHED)
    except OSError as e:
        raise Failed(f"the cache directory {shown(CACHE)} cannot be used: {e.strerror}; name "
                     "another one: SVA_CACHE=directory") from None
    there = {name for name in there if not name.startswith(f".{MARKER.name}.")}
    if there:
        raise Failed(f"the cache directory {shown(CACHE)} has files that are not ours "
                     f"({', '.join(sorted(there)[:3])}); name one that is empty or "
                     "does not exist yet: SVA_CACHE=directory")
    write_atomically(MARKER, "Signature: 8a477f597d28d172789f06886806bc55\n"
                     f"# {OWNER}; `make distclean` removes it.\n")


@contextlib.contextmanager
def lock(path, what):
    """One process at a time; a second one waits and says for what."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another make to finish with {what} ...")
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def write_atomically(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode()
    fd, tmp = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        os.chmod(tmp, 0o644)
        os.rename(tmp, path)
    except BaseException:
        os.unlink(tmp)
        raise


def read(path):
    """A file's text; empty where there is none."""
    try:
        return Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return ""


def digest(*parts):
    """A short key for what something is made from: strings, bytes and files."""
    h = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part
        data = data.encode() if isinstance(data, str) else data
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()[:20]


def output(*command, cwd=None, env=None, input=None, check=True):
    """A command's standard output, stripped."""
    with subprocess.Popen([str(c) for c in command], cwd=cwd, env=env, text=True, errors="replace",
                          stdin=subprocess.PIPE if input is not None else None,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        try:
            out, err = p.communicate(input)
        except BaseException:
            p.terminate()               # not killed: git has lock files to remove
            p.wait()
            raise
    if check and p.returncode:
        said = (out + err).rstrip().splitlines()
        raise Failed("\n".join([" ".join(map(str, command)), *said[-20:]]))
    return out.strip()


# Seconds that the long steps take on 2 slow cores with nothing cached. Only their ratios matter.
NOMINAL = {"packages": 30, "linux-source-6.12": 20, "qemu": 30, "build QEMU for x86_64": 500,
           "build QEMU for aarch64": 300,
           "build the demo kernel": 600, "build the debug kernel": 850,
           "build the arm64 kernel": 700, "build the arm64-64k kernel": 700,
           "build the kcsan kernel": 850,
           "build the kcsan-arm64 kernel": 850,
           "build the kasan kernel": 1000}


class Outlook:
    """How long a whole command still takes: the nominal times of what is to come, at the pace of
    what was done."""

    def __init__(self):
        self.titles, self.after, self.nominal, self.took = [], 0, 0, 0

    def plan(self, titles, after=0):
        """The long steps to come, in order, and the seconds that follow them."""
        self.titles, self.after = list(titles), after

    def begins(self, title):
        """What stands before a step in the plan was not needed, or is done."""
        if title in self.titles:
            del self.titles[:self.titles.index(title) + 1]

    def ends(self, title, took):
        self.nominal += NOMINAL.get(title, 0)
        self.took += took if title in NOMINAL else 0

    def left(self, title, took, share):
        """In words; empty where nothing was planned, or nothing can be said yet."""
        if not self.after and title not in NOMINAL:
            return ""
        now = NOMINAL.get(title, 0)
        if share < 0.02 and not self.nominal:
            return ""
        pace = (self.took + took) / (self.nominal + now * share) if now and share else \
            self.took / self.nominal if self.nominal else 1
        seconds = pace * (now * (1 - share) + self.after
                          + sum(NOMINAL.get(t, 0) for t in self.titles))
        return f", about {max(1, round(seconds / 60))} min left"


outlook = Outlook()


class Progress:
    """One line that says what is done, how far it is, and how long everything still takes.

    On a terminal the line is rewritten; in a log a new one comes every 20 s.
    """

    def __init__(self, title, total=0, quiet=False):
        self.title, self.total, self.quiet = title, total, quiet
        self.start = self.shown = time.monotonic()
        self.count = 0
        outlook.begins(title)
        if quiet:
            return
        if TTY:
            self.show("")
        else:
            say(f"  {title} ...")

    def show(self, end):
        if self.quiet:
            return
        took = time.monotonic() - self.start
        share = min(0.99, self.count / self.total) if self.total else 0
        far = f"{100 * share:3.0f} %  " if self.total else ""
        line = f"  {self.title}  {far}{took:.0f} s{outlook.left(self.title, took, share)}"
        if TTY:
            print(f"\r\033[K{line}", end=end, flush=True)
        else:
            say(line)

    def tick(self, count=None):
        self.count = self.count + 1 if count is None else count
        now = time.monotonic()
        if now - self.shown >= (0.3 if TTY else 20):
            self.shown = now
            self.show("")

    def done(self, word="done"):
        took = time.monotonic() - self.start
        outlook.ends(self.title, took)
        if self.quiet and word == "done":
            return
        line = f"  {self.title}: {word}, {took:.0f} s"
        say(f"\r\033[K{line}" if TTY else line)


def run(title, command, log, cwd=None, env=None, total=0, count=None, status=False,
        quiet=False):
    """Run a long command: output into a log, progress on the screen.

    `count` is a pattern of the output lines that are progress (its groups, if it
    has them, are the number reached and the total); `total` how many there will
    be. A failure shows the log's end and where it is. The command is the leader of
    its own process group, so that Ctrl-C takes all of it down before we go.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress(title, total, quiet)
    pattern = re.compile(count) if count else None
    lines = 0
    with open(log, "w") as f:
        p = subprocess.Popen([str(c) for c in command], cwd=cwd, env=env, text=True,
                             errors="replace", stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)
        try:
            for line in p.stdout:
                f.write(line)
                match = pattern.search(line) if pattern else None
                if match and match.groups():
                    progress.total = int(match.group(2))
                    progress.tick(int(match.group(1)))
                elif match:
                    lines += 1
                    progress.tick(lines)
                else:
                    progress.tick(progress.count)
            p.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGTERM)
            p.wait()
            raise
    if p.returncode and not status:
        progress.done("FAILED")
        errors = [l for l in read(log).splitlines()
                  if re.search(r"error[: ]|FAILED|undefined reference", l, re.I)][:8]
        tail = read(log).splitlines()[-12:]
        raise Failed("\n    ".join([f"{title} failed:"] + (errors or tail))
                     + f"\n  the whole log: {shown(log)}")
    progress.done()
    return p.returncode if status else lines


def shown(path):
    """A path as a person in the clone would type it."""
    path = Path(path)
    for base, name in ((ROOT, ""), (Path.home(), "~/")):
        with contextlib.suppress(ValueError):
            return name + str(path.relative_to(base))
    return str(path)


def remember(what, value=None):
    """How many steps a build took last time, for its progress; 0 if unknown."""
    path = CACHE / "estimates" / what
    if value:
        write_atomically(path, f"{value}\n")
        return value
    text = read(path).strip()
    return int(text) if text.isdigit() else 0


CC = ROOT / "tools/cc"                  # before the name of a compiler


def compiler_env():
    """Compilers through ccache, with hits across clones. It takes what a file includes from the
    compiler (depend mode): on a first build, where nothing hits, a preprocessor run less."""
    env = dict(os.environ, CCACHE_DEPEND="1")
    env.update(CCACHE_DIR=os.environ.get("CCACHE_DIR") or str(CACHE / "ccache"),
               CCACHE_NOHASHDIR="1", CCACHE_BASEDIR=str(ROOT),
               CCACHE_MAXSIZE=os.environ.get("CCACHE_MAXSIZE") or "6G",
               CCACHE_SLOPPINESS="time_macros",
               KBUILD_BUILD_USER="sva", KBUILD_BUILD_HOST="localhost",
               KBUILD_BUILD_TIMESTAMP="Thu Jan 1 00:00:00 UTC 1970", LC_ALL="C.UTF-8")
    for name in ("ARCH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
        env.pop(name, None)
    return env


def passed(key):
    """Whether what has this key was judged before, and found good."""
    path = VERDICTS / key
    if path.exists():
        os.utime(path)
        return True
    return False


def passes(key):
    write_atomically(VERDICTS / key, "ok\n")


def remove(path):
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def prune(directory, keep):
    """Keep the newest entries of a cache directory."""
    entries = sorted((e for e in directory.iterdir() if not e.name.startswith(".")),
                     key=lambda e: e.stat().st_mtime)
    for entry in entries[:-keep]:
        remove(entry)
