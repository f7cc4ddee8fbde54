# SPDX-License-Identifier: GPL-2.0-only
"""A patch queue: `patches/<name>/series` on top of a base source, and back.

A line of `series` names a patch and the new files that enter with it; these lie
whole in `linux/` or `qemu/`, at their in-tree paths. `assemble()` makes one
commit per line in `build/<name>/`, from nothing but the queue and the base, so
that the same queue gives the same commit ids everywhere. It builds the commits
in an index of its own and then moves the work tree from the old end to the new
one: only files that differ are touched, and an incremental build stays one.
"""

import contextlib
import inspect
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import packages
from common import (BUILD, ROOT, Failed, Progress, digest, lock, output, read, remove, room, say,
                    shown, write_atomically)

AUTHOR = ("SVA series developers", "sva-series@localhost")
EPOCH = "1700000000 +0000"
# Makes the commit of the same content the same one.
UNDATED = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
           for what, value in zip(("NAME", "EMAIL", "DATE"), (*AUTHOR, EPOCH))}
SOURCES = (".", ":(exclude)*.pyc")      # of a tree: what Python leaves there is none
NEEDED = (5, 2)                        # GB in build/ and in the cache, for all of make test


@dataclass
class Step:
    patch: str                          # "kva/0001-name.patch"
    files: list = field(default_factory=list)

    @property
    def section(self):
        return self.patch.rsplit("/", 1)[0] if "/" in self.patch else ""


class Queue:
    def __init__(self, name, files, archive, unpack, version):
        self.name = name                                # "linux-6.12"
        self.patches = ROOT / "patches" / name
        self.files = ROOT / files                       # our new files, whole
        self.tree = BUILD / name
        self.archive, self.unpack = archive, unpack
        self.version_of = version

    # --- reading the queue ---

    def steps(self):
        steps = []
        for number, line in enumerate(read(self.patches / "series").splitlines(), 1):
            words = line.split("#", 1)[0].split()
            if not words:
                continue
            steps.append(Step(words[0], words[1:]))
            for path in [self.patches / words[0]] + [self.files / f for f in words[1:]]:
                if not path.is_file():
                    raise Failed(f"{shown(self.patches / 'series')}:{number}: "
                                 f"no such file: {shown(path)}")
        self.refuse_strays(steps)
        return steps

    def refuse_strays(self, steps):
        """The series and the two folders say the same."""
        def beside(folder, pattern):
            return {str(p.relative_to(folder)) for p in folder.rglob(pattern) if p.is_file()}
        for folder, pattern, named in (
                (self.patches, "*.patch", [s.patch for s in steps]),
                (self.files, "*", [f for s in steps for f in s.files])):
            twice = {n for n in named if named.count(n) > 1}
            stray = beside(folder, pattern) - set(named)
            if twice or stray:
                raise Failed(f"{shown(self.patches / 'series')} and {shown(folder)} disagree: "
                             + "; ".join(filter(None, [
                                 stray and f"not named: {', '.join(sorted(stray))}",
                                 twice and f"named twice: {', '.join(sorted(twice))}"])))

    def key(self):
        """Changes whenever the assembled tree could."""
        parts = [self.archive().name, read(Path(__file__))]
        for step in self.steps():
            parts += [step.patch, self.patches / step.patch]
            for f in step.files:
                parts += [f, self.files / f]
        return digest(*parts)

    # --- git in the tree ---

    def git(self, *args, **kw):
        return output("git", "-c", "core.autocrlf=false", "-c", "gc.auto=0", *args,
                      cwd=self.tree, **kw)

    def ref(self, name):
        return self.git("rev-parse", "-q", "--verify", name, check=False)

    def base(self):
        """The unpacked base as the first commit of build/<name>, tagged `base`."""
        archive = self.archive()
        stamp = BUILD / f".{self.name}.base"
        made_from = f"{archive.name} {digest(inspect.getsource(self.unpack))}"
        if read(stamp) == made_from and (self.tree / ".git").exists():
            return
        if (self.tree / ".git").exists():
            self.refuse_edits("the base is to be unpacked anew", removed=True)
        new = BUILD / f".{self.name}.new"
        remove(new)
        packages.claim_cache()
        if not any(queue.tree.exists() for queue in QUEUES):
            room(*NEEDED)
        new.mkdir(parents=True)
        progress = Progress(f"unpack {archive.name}")
        self.unpack(archive, new)
        progress.done()
        progress = Progress(f"base commit of {self.name}")
        env = dict(os.environ, GIT_AUTHOR_DATE=EPOCH, GIT_COMMITTER_DATE=EPOCH)
        who = ["-c", "user.name=base", "-c", "user.email=base@localhost",
               "-c", "commit.gpgsign=false"]
        for args in (["init", "-q", "-b", "sva"], ["add", "-A", "-f", "."],
                     [*who, "commit", "-q", "-m", self.version_of(new)], ["tag", "base"]):
            output("git", "-c", "core.autocrlf=false", "-c", "gc.auto=0", *args, cwd=new, env=env)
        # A developer's commits must not start a repack of the whole kernel in the background.
        for key, value in (("user.name", AUTHOR[0]), ("user.email", AUTHOR[1]), ("gc.auto", "0")):
            output("git", "config", key, value, cwd=new)
        write_atomically(new / ".git/info/exclude", "/obj-*\n/obj\n")
        remove(self.tree)
        new.rename(self.tree)
        write_atomically(stamp, made_from)
        progress.done()

    def edits(self, *options):
        """What is not committed in build/<name>, new files included: git's lines."""
        return self.git("status", "--porcelain", *options, "--", *SOURCES)

    def snapshot(self):
        """The work tree as it is, new files included, as a commit; HEAD if that is the same. The
        same content gives the same commit."""
        self.assemble()
        if not self.edits():
            return self.ref("HEAD")
        with tempfile.TemporaryDirectory() as tmp:
            env = dict(os.environ, GIT_INDEX_FILE=f"{tmp}/index", **UNDATED)
            shutil.copy(self.tree / ".git/index", f"{tmp}/index")
            self.git("add", "-A", "--", *SOURCES, env=env)
            tree = self.git("write-tree", env=env)
            return self.git("commit-tree", tree, "-p", "HEAD", input="not committed\n", env=env)

    def refuse_edits(self, why, removed=False):
        """Never lose a developer's work in build/<name>; new files only if it is to be removed."""
        ours = self.ref("refs/sva/assembled")
        if not ours:
            return
        dirty = self.edits(*([] if removed else ["-uno"]))
        if dirty or self.ref("HEAD") != ours:
            raise Failed(f"{why}, but {shown(self.tree)} has edits of its own "
                         f"({'uncommitted' if dirty else 'commits'}). Take them back with "
                         "'make refresh', or throw them away with "
                         f"'git -C {shown(self.tree)} reset --hard refs/sva/assembled'"
                         + (f" and 'git -C {shown(self.tree)} clean -fd'" if "?? " in dirty else ""))

    # --- queue -> tree ---

    def assemble(self):
        """Bring build/<name> to the queue's state; says so only when there is work."""
        with lock(BUILD / f".{self.name}.lock", self.name):
            self.base()
            key = self.key()
            stamp = BUILD / f".{self.name}.key"
            if read(stamp) == key and self.ref("refs/sva/assembled"):
                return
            self.refuse_edits("the queue changed")
            head = self.commits()[-1]
            old = self.ref("HEAD")
            self.git("update-index", "-q", "--refresh", check=False)
            self.git("read-tree", "-m", "-u", old, head)
            self.git("update-ref", "HEAD", head)
            self.git("update-ref", "refs/sva/assembled", head)
            write_atomically(stamp, key)
            say(f"  {self.name}: {len(self.steps())} patches on "
                f"{self.git('log', '-1', '--format=%s', 'base')}")

    def worktree(self, path, commit):
        """A second checkout of build/<name>'s repository, at a commit."""
        head = None
        if (path / ".git").exists():    # or git would take the repository around it
            with contextlib.suppress(Failed):       # of a checkout whose repository is gone
                head = output("git", "rev-parse", "--verify", "HEAD", cwd=path)
        if not head:
            remove(path)
            self.git("worktree", "prune")
            progress = Progress(f"check out {path.name}")
            self.git("worktree", "add", "-f", "--detach", path, commit)
            progress.done()
        elif head != commit:
            output("git", "checkout", "-q", "--force", "--detach", commit, cwd=path)
        return path

    def commits(self):
        """One commit per step, made without touching the work tree; ids, base first."""
        parent = self.git("rev-parse", "base^{commit}")
        made = [parent]
        with tempfile.TemporaryDirectory() as tmp:
            env = dict(os.environ, GIT_INDEX_FILE=f"{tmp}/index")
            self.git("read-tree", "base", env=env)
            for step in self.steps():
                parent = self.commit(step, parent, Path(tmp), env)
                made.append(parent)
        return made

    def commit(self, step, parent, tmp, env):
        patch = self.patches / step.patch
        info = dict(l.split(": ", 1) for l in output(
            "git", "mailinfo", "--no-scissors", tmp / "msg", tmp / "diff",
            input=patch.read_text()).splitlines() if ": " in l)
        if "diff --git" in read(tmp / "diff"):
            self.apply(patch, tmp / "diff", env)
        for f in step.files:
            source = self.files / f
            mode = "100755" if os.access(source, os.X_OK) else "100644"
            blob = self.git("hash-object", "-w", source)
            self.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{f}", env=env)
        tree = self.git("write-tree", env=env)
        who = {"NAME": info.get("Author", ""), "EMAIL": info.get("Email", ""),
               "DATE": info.get("Date", EPOCH)}
        env = dict(env, **{f"GIT_{k}_{n}": v for n, v in who.items()
                           for k in ("AUTHOR", "COMMITTER")})
        message = f"{info['Subject']}\n\n{read(tmp / 'msg')}".rstrip() + "\n"
        return self.git("commit-tree", tree, "-p", parent, input=message, env=env)

    def extended(self, commit, files, patch):
        """A commit on top of this one, always the same: files as the end of the queue has them, and
        a patch of no queue."""
        with tempfile.TemporaryDirectory() as tmp:
            env = dict(os.environ, GIT_INDEX_FILE=f"{tmp}/index", **UNDATED)
            self.git("read-tree", commit, env=env)
            for line in self.git("ls-tree", "refs/sva/assembled", *files).splitlines():
                mode, _, blob, path = line.split()
                self.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}", env=env)
            self.apply(patch, patch, env)
            tree = self.git("write-tree", env=env)
            return self.git("commit-tree", tree, "-p", commit, input=f"{patch.name}\n", env=env)

    def apply(self, patch, diff, env):
        """Exact context first; a newer base may need less, and is told about."""
        for extra in ([], ["-C2"], ["-C1"]):
            r = subprocess.run(["git", "apply", "--cached", "--whitespace=nowarn", *extra, diff],
                               cwd=self.tree, env=env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if r.returncode == 0:
                if extra:
                    say(f"  note: {shown(patch)} applies only with {extra[0][2]} lines of "
                        "context: refresh it")
                return
        raise Failed(f"{shown(patch)} does not apply to "
                     f"{self.git('log', '-1', '--format=%s', 'base')}:\n{r.stdout.rstrip()}\n"
                     "see 'Move to a newer 6.12.y' in doc/hacking.md")

    # --- tree -> queue ---

    def refresh(self):
        """Write the commits of build/<name> back as patches and files."""
        if not self.ref("refs/sva/assembled"):
            raise Failed(f"there is no {shown(self.tree)} yet: make tree")
        if self.edits():
            raise Failed(f"{shown(self.tree)} has uncommitted edits or new files: commit them first "
                         "(git commit --fixup=<the patch's commit>, then "
                         "git rebase -i --autosquash base)")
        ids = self.git("rev-list", "--reverse", "base..HEAD").split()
        if self.git("rev-list", "--merges", "base..HEAD"):
            raise Failed(f"{shown(self.tree)} has merges; a queue is a line")
        ours = set(self.git("diff", "--name-only", "--no-renames", "--diff-filter=A",
                            "base", "HEAD").splitlines())
        entering = self.entering(ids, ours)
        written, lines = {}, []
        for commit, name in zip(entering, self.names(entering)):
            written[name] = self.format(commit, ours)
            lines.append(" ".join([name] + entering[commit]))
        self.write_back(written, ours, lines)
        head = self.commits()[-1]
        if self.git("rev-parse", f"{head}^{{tree}}") != self.git("rev-parse", "HEAD^{tree}"):
            raise Failed("refresh lost something: the queue does not give the tree back "
                         f"(git -C {shown(self.tree)} diff HEAD {head})")
        self.git("update-ref", "HEAD", head)
        self.git("update-ref", "refs/sva/assembled", head)
        write_atomically(BUILD / f".{self.name}.key", self.key())
        say(f"{self.name}: {len(lines)} patches, {len(ours)} files of ours")

    def entering(self, ids, ours):
        """The commits that become patches, and the files of ours that enter with each.
        One that only edits such files later is folded into the steps they enter with."""
        entering, seen = {}, set()
        for commit in ids:
            changed = self.git("diff-tree", "-r", "--no-commit-id", "--name-only", "--no-renames",
                               commit).splitlines()
            new = [f for f in changed if f in ours and f not in seen]
            seen.update(new)
            if new or not all(f in ours for f in changed):
                entering[commit] = new
            else:
                say(f"  folded: {self.git('log', '-1', '--format=%s', commit)}")
        return entering

    def names(self, ids):
        """A commit keeps its section through its subject; a new one takes the one before."""
        known = {}
        for step in self.steps() if (self.patches / "series").exists() else []:
            known[subject_of(self.patches / step.patch)] = step.section
        names, section, count = [], "", {}
        for commit in ids:
            subject = self.git("log", "-1", "--format=%s", commit)
            wanted = self.git("log", "-1", "--format=%(trailers:key=Section,valueonly)", commit)
            section = wanted.strip() or known.get(subject, section)
            count[section] = count.get(section, 0) + 1
            slug = re.sub(r"[^A-Za-z0-9_.]+", "-", subject).strip("-.")[:60].rstrip("-.")
            names.append((f"{section}/" if section else "") + f"{count[section]:04d}-{slug}.patch")
        return names

    def format(self, commit, ours):
        """git's own mail format, less what only says when and where it was made."""
        header = self.git("log", "-1", "--format=From: %an <%ae>%nDate: %aD%n"
                          "Subject: [PATCH] %s%n%n%b", commit)
        header = re.sub(r"(?m)^Section: .*\n?", "", header + "\n").rstrip()
        exclude = [f":(exclude){f}" for f in sorted(ours)]
        stat = self.git("diff-tree", "--no-commit-id", "--no-renames", "--stat=72", "--summary",
                        commit, "--", ".", *exclude)
        diff = subprocess.run(["git", "diff-tree", "--no-commit-id", "-p", "--full-index",
                               "--no-renames", "--binary", commit, "--", ".", *exclude],
                              cwd=self.tree, stdout=subprocess.PIPE, check=True
                              ).stdout.decode(errors="surrogateescape")
        diff = re.sub(r"(?m)^(index [0-9a-f]{12})[0-9a-f]*\.\.([0-9a-f]{12})[0-9a-f]*",
                      r"\1..\2", diff)
        return f"{header}\n---\n {stat}\n\n{diff}" if diff else f"{header}\n---\n"

    def write_back(self, written, ours, lines):
        for old in list(self.patches.rglob("*.patch")):
            if str(old.relative_to(self.patches)) not in written:
                old.unlink()
        for name, text in written.items():
            path = self.patches / name
            if read(path) != text:
                write_atomically(path, text.encode(errors="surrogateescape"))
        for old in [p for p in self.files.rglob("*") if p.is_file()]:
            if str(old.relative_to(self.files)) not in ours:
                old.unlink()
        for f in ours:
            data = subprocess.run(["git", "cat-file", "blob", f"HEAD:{f}"], cwd=self.tree,
                                  stdout=subprocess.PIPE, check=True).stdout
            path = self.files / f
            if not path.exists() or path.read_bytes() != data:
                write_atomically(path, data)
            mode = self.git("ls-tree", "HEAD", f)[:6]
            path.chmod(0o755 if mode == "100755" else 0o644)
        for d in sorted((p for p in [*self.patches.rglob("*"), *self.files.rglob("*")]
                         if p.is_dir()), reverse=True):
            if not any(d.iterdir()):
                d.rmdir()
        version = self.git("log", "-1", "--format=%s", "base").split()[-1]
        write_atomically(self.patches / "series", re.sub(
            r"(?m)^# base: .*$", f"# base: {version}", series_text(
                read(self.patches / "series"), lines)))


def subject_of(patch):
    """A patch's subject, its folded lines joined."""
    text = re.search(r"(?m)^Subject: (.*(?:\n[ \t].*)*)", read(patch)).group(1)
    return re.sub(r"^\[PATCH[^]]*\] *", "", re.sub(r"\n[ \t]+", " ", text))


def series_text(old, lines):
    """The series file: a comment stays before the run of a section it stood before."""
    def runs(rows):
        """(section and how often it came before, its line) of each patch line."""
        last, seen = None, {}
        for row in rows:
            section = Step(row.split()[0]).section
            if section != last:
                seen[section] = seen.get(section, 0) + 1
                last = section
            yield (section, seen[section]), row

    old = old.splitlines()
    patches = [l for l in old if l.strip() and not l.startswith("#")]
    comments, pending, order = {}, [], iter(runs(patches))
    for line in old:
        if line in patches:
            comments.setdefault(next(order)[0], pending)
            pending = []
        else:
            pending.append(line)
    out, last = ([] if comments else pending), None
    for run, line in runs(lines):
        if run != last:
            out += comments.get(run, [""] if out else [])
            last = run
        out.append(line)
    return "\n".join(out) + "\n"


def unpack_tar(archive, into):
    output("tar", "-C", into, "--strip-components=1", "-xf", archive)


def unpack_linux(deb, into):
    if deb.suffix == ".xz":
        return unpack_tar(deb, into)
    with tempfile.TemporaryDirectory(dir=into.parent) as tmp:
        output("dpkg-deb", "-x", deb, tmp)
        unpack_tar(next(Path(tmp).glob("usr/src/linux-source-*.tar.xz")), into)
    # Debian's copy ignores everything that is new at the top level; a developer's tree
    # must not.
    ignore = into / ".gitignore"
    ignore.write_text("".join(l for l in read(ignore).splitlines(True)
                              if l.strip() not in ("/*", "!/debian/")))


def unpack_qemu(dsc, into):
    if dsc.suffix == ".xz":
        return unpack_tar(dsc, into)
    into.rmdir()
    output("dpkg-source", "--no-check", "--no-copy", "-x", dsc, into)
    remove(into / "debian")
    remove(into / ".pc")


def linux_version(tree):
    numbers = re.findall(r"(?m)^(?:VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)", read(tree / "Makefile"))
    return "Linux " + ".".join(numbers)


LINUX = Queue("linux-6.12", "linux", packages.linux_archive, unpack_linux, linux_version)
QEMU = Queue("qemu-10.0", "qemu", packages.qemu_archive, unpack_qemu,
             lambda tree: f"QEMU {read(tree / 'VERSION').strip()}")
QUEUES = (LINUX, QEMU)
