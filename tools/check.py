# SPDX-License-Identifier: GPL-2.0-only
"""make check: is every step of the queues fit to be mailed?

Per patch: checkpatch; the whole kernel builds with W=1 for x86_64 and arm64 and
says nothing that it did not say on the base; sparse on every file the patch
touches says nothing new; the last step of each section boots. Results are
kept in the cache, keyed by what they judge, so that a second run only looks at
what changed, and an interrupted one goes on where it was. PATCH=fixes/* judges some.
"""

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import kernel
import models
import packages
import qemu
import vm
from common import (BUILD, JOBS, LOGS, VERDICTS, Failed, compiler_env, digest, lock, main,
                    output, passed, passes, read, remember, remove, run, say, shown,
                    write_atomically)
from patchqueue import AUTHOR, LINUX, QEMU, QUEUES

FLAVOURS = ("debug", "arm64")           # whose configs are compiled, one for each architecture
MANY = 99                               # problems of a part; more are not counted
# A person who mails a patch signs it off; new files are covered by MAINTAINERS' globs or by
# the maintainer who takes them.
CHECKPATCH = ["--strict", "--no-tree", "--no-summary", "--terse", "--show-types",
              "--max-line-length=100", "--showfile",
              # The tree has no history that Fixes: could be looked up in.
              "--ignore", "MISSING_SIGN_OFF,NO_AUTHOR_SIGN_OFF,FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID"]
QEMU_CHECKPATCH = ["--no-tree", "--no-summary", "--terse"]


# Of the patches, named as in a series: those to be judged.
PATCH = os.environ.get("PATCH") or "*"


def wanted(step):
    return any(fnmatch.fnmatch(step.patch, f"{p}*") for p in PATCH.split(","))


def told(problems):
    """The problems as a list, each said as soon as it is known."""
    problems = list(problems)
    for problem in problems:
        say(f"not ok  {problem}")
    return problems


def warnings(text):
    """Compiler and sparse messages, without line numbers, as a set."""
    found = set()
    for line in text.splitlines():
        match = re.match(r"(?:\.\./)*([^ :]+):\d+(?::\d+)?: (warning|error): (.*)", line)
        if match:
            found.add(f"{match[1]}: {match[2]}: {match[3]}")
    return found


# --- text ---

def checkpatch(queue):
    """checkpatch on every commit, new files and message included."""
    script = queue.tree / "scripts/checkpatch.pl"
    options = CHECKPATCH if queue is LINUX else QEMU_CHECKPATCH
    if queue is LINUX:
        options = [*options, f"--root={queue.tree}"]
        options.remove("--no-tree")
    bad = []
    for step, commit in zip(queue.steps(), queue.commits()[1:]):
        key = "text-" + digest(commit, " ".join(options))
        if not wanted(step) or passed(key):
            continue
        mail = queue.git("format-patch", "-1", "--stdout", "--no-signature", commit)
        # spdxcheck.py wants the python3 that Debian's ply belongs to
        env = dict(os.environ, PATH=f"/usr/bin:{os.environ['PATH']}")
        r = subprocess.run([script, *options, "-"], cwd=queue.tree, input=mail + "\n", text=True,
                           env=env,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        problems = [l for l in r.stdout.splitlines() if l.strip() and not policy(l)]
        problems += header_problems(queue.patches / step.patch)
        if problems:
            bad += told(f"{shown(queue.patches / step.patch)}: {p}" for p in problems)
        else:
            passes(key)
    return bad


def policy(line):
    """Messages about what this project does on purpose."""
    return re.search(r"Missing Signed-off-by|MAINTAINERS need updating|total: "
                     # the layout of all trace events
                     r"|include/trace/events/.*(PARENTHESIS_ALIGNMENT|OPEN_ENDED_LINE)", line)


def header_problems(patch):
    text = read(patch)
    problems = []
    if "\nSigned-off-by:" in text:
        problems.append("carries a Signed-off-by; the person who mails it adds one")
    if not text.startswith("From: {} <{}>\n".format(*AUTHOR)):
        problems.append("is not from the series' author line")
    return problems


# --- Linux builds ---

def built_from(commit):
    """What a kernel is built from: the tree without texts and tests in user space."""
    entries = (LINUX.git("ls-tree", commit) + "\n" + LINUX.git("ls-tree", f"{commit}:tools"))
    return "\n".join(e for e in entries.splitlines()
                     if e.split("\t")[1] not in ("Documentation", "tools", "testing"))


class Judge:
    """One architecture's kernel, built at each step of the series."""

    def __init__(self, flavour, commits):
        self.commits, self.arch = commits, kernel.FLAVOURS[flavour].arch.name
        # Not in depend mode: a preprocessed file hits where only an option has come that it
        # does not use.
        self.kernel = kernel.Builder(flavour, BUILD / f"check-{self.arch}", "obj-check",
                                     ["compile", f"compile-{self.arch}"], ["W=1"], depend=False)
        self.compiler = output(self.kernel.arch.gcc, "--version").splitlines()[0]
        self.touched = [f for f in LINUX.git("diff", "--name-only", commits[0], commits[-1])
                        .splitlines() if f.endswith(".c")]

    def key(self, what, commit):
        return f"{what}-{self.arch}-" + digest(built_from(commit), self.kernel.wanted,
                                               self.compiler)

    def compile(self, commit, name):
        """Everything, with W=1; what it warned about."""
        self.kernel.go(commit)
        log = LOGS / f"check-{self.arch}-{name}.log"
        lines = self.kernel.make(f"{self.arch}: build {name}", log, "vmlinux",
                                 count=r"^  [A-Z]+ +\S",
                                 total=remember(f"check-{self.arch}") or 2500
                                 if name == "base" else 0)
        if name == "base" and lines > 500:
            remember(f"check-{self.arch}", lines)
        return warnings(read(log))

    def sparse(self, commit, files, name):
        """What sparse says of these files at a commit."""
        self.kernel.go(commit)
        objects = [f[:-2] + ".o" for f in files if (self.kernel.tree / f).exists() and
                   (self.kernel.obj / (f[:-2] + ".o")).exists()]
        if not objects:
            return set()
        log = LOGS / f"check-{self.arch}-{name}-sparse.log"
        self.kernel.make(f"{self.arch}: sparse {name}", log, "C=2", *objects, quiet=True)
        return warnings(read(log))

    def base_says(self):
        """Warnings of the base: the whole build, and sparse on what the series touches."""
        base = self.commits[0]
        key = self.key("base", base) + "-" + digest(*self.touched)
        path = VERDICTS / key
        if not path.exists():
            remove(self.kernel.obj)     # what is not compiled now says nothing
            said = self.compile(base, "base") | self.sparse(base, self.touched, "base")
            write_atomically(path, "\n".join(sorted(said)) + "\n")
        os.utime(path)
        return set(read(path).splitlines())

    def user_headers(self):
        """The series' uapi headers, for programs."""
        path = BUILD / f"check-headers-{self.arch}"
        if self.commits[-1] != read(path / "of-commit"):
            self.kernel.go(self.commits[-1])
            output(*self.kernel.command("-s", "headers_install", f"INSTALL_HDR_PATH={path}"))
            write_atomically(path / "of-commit", self.commits[-1])
        return path / "include"

    def programs(self, step, number):
        """Programs of the selftests that a step touches; the problems found."""
        commit, problems = self.commits[number], []
        for name in LINUX.git("diff-tree", "-r", "--no-commit-id", "--name-only", "--diff-filter=d",
                              commit, "--", "tools/testing/selftests/*.c").splitlines():
            key = f"program-{self.arch}-" + digest(LINUX.git("show", f"{commit}:{name}"),
                                                   self.compiler, self.commits[-1])
            if passed(key):
                continue
            headers = self.user_headers()
            self.kernel.go(commit)
            source = self.kernel.tree / name
            r = subprocess.run([self.kernel.arch.gcc, "-Wall", "-O2", "-D_GNU_SOURCE=",
                                "-isystem", headers, "-I", source.parent, "-c", "-o", os.devnull, source], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            new = sorted(warnings(r.stdout)) or ([r.stdout.strip()] if r.returncode else [])
            problems += [f"{self.arch}: {step.patch}: {w}" for w in new]
            if not new:
                passes(key)
        return problems

    def judge(self, step, number, boots):
        """One step; the problems found."""
        return self.builds(step, number, boots) + self.programs(step, number)

    def builds(self, step, number, boots):
        """The kernel at one step; the problems found."""
        commit = self.commits[number]
        key = self.key("step-boots" if boots else "step", commit)
        if passed(key):
            return []
        name = Path(step.patch).name[:4] if "/" not in step.patch else \
            f"{step.section}-{Path(step.patch).name[:4]}"
        said = self.base_says()
        touched = [f for f in LINUX.git("diff-tree", "-r", "--no-commit-id", "--name-only",
                                        commit).splitlines() if f.endswith(".c")
                   and not f.startswith("tools/testing/")]
        try:
            now = self.compile(commit, name) | self.sparse(commit, touched, name)
        except Failed as e:
            return [f"{self.arch}: {step.patch}: {e}"]
        new = sorted(now - said)
        problems = [f"{self.arch}: {step.patch}: {w}" for w in new]
        if not problems and boots:
            problems = self.boot(step)
        if not problems:
            passes(key)
        return problems

    def boot(self, step):
        """The end of a section boots, with lockdep and KUnit."""
        if self.arch != "x86_64":
            return []
        self.kernel.make(f"x86_64: image at the end of {step.section}",
                         LOGS / "check-x86_64-image.log", self.kernel.image.name)
        name = f"check-boot-{step.section}"
        result = vm.run_guest(self.kernel.image, vm.Machine(2, 2, memory=1024), "true", (), name,
                              240)
        if result.problem():
            return [f"{step.patch}: does not boot cleanly: {result.problem()}"]
        say(f"  x86_64: the end of {step.section}/ boots")
        return []


def linux_steps(flavour):
    steps, commits = LINUX.steps(), LINUX.commits()
    bad, judge = [], Judge(flavour, commits)
    for n, step in enumerate(steps, 1):
        last = n == len(steps) or steps[n].section != step.section
        if wanted(step):
            bad += told(judge.judge(step, n, last))
    say(f"  {judge.arch}: {len(steps)} steps")
    return bad


def qemu_device_list(tree, last):
    """The list of devices enters with svadev; steps before it borrow what they know of it."""
    for target in qemu.TARGETS:
        path = f"configs/devices/{target}-softmmu/sva.mak"
        if not (tree / path).exists():
            final = QEMU.git("show", f"{last}:{path}").splitlines()
            (tree / path).write_text("\n".join(l for l in final if "SVADEV" not in l) + "\n")


def qemu_objects(obj, files):
    """The object files that QEMU's build makes from some sources, those that exist."""
    made = {}
    for entry in json.loads(read(obj / "compile_commands.json")):
        made.setdefault(os.path.normpath(obj / entry["file"]), []).append(entry["output"])
    return [o for f in files for o in made.get(str(obj.parent / f), [])]


def qemu_steps():
    """Every step of QEMU's queue compiles what the series touches, the last one everything;
    new warnings count as for Linux."""
    steps, commits = QEMU.steps(), QEMU.commits()
    tree, bad = BUILD / "check-qemu", []
    touched = [f for f in QEMU.git("diff", "--name-only", commits[0], commits[-1]).splitlines()
               if f.endswith(".c")]
    for step, commit in zip(steps, commits[1:]):
        whole = commit == commits[-1]
        key = f"qemu-{'all' if whole else 'touched'}-" \
            + digest(QEMU.git("rev-parse", f"{commit}^{{tree}}"), *touched)
        if not wanted(step) or passed(key):
            continue
        QEMU.worktree(tree, commit)
        qemu_device_list(tree, commits[-1])
        try:
            said = qemu_compile(tree / "obj", Path(step.patch).name[:4],
                                None if whole else touched)
        except Failed as e:
            bad += told([f"{step.patch}: {e}"])
            continue
        new = [w for w in said if "qapi" not in w]
        if new:
            bad += told(f"{step.patch}: {w}" for w in new)
        else:
            passes(key)
    say(f"  QEMU: {len(steps)} steps")
    return bad


def qemu_compile(obj, name, files):
    """What the compiler warns about in QEMU, or in some files of it."""
    env = dict(compiler_env(), CC="ccache gcc", PATH=packages.PATH)
    if not (obj / "build.ninja").exists():
        obj.mkdir(exist_ok=True)
        run("QEMU: configure", qemu.configure_command(), LOGS / "check-qemu.log", cwd=obj, env=env)
    run("QEMU: build files", ["ninja", "build.ninja"], LOGS / "check-qemu.log", cwd=obj, env=env,
        quiet=True)
    wanted = [f"qemu-system-{t}" for t in qemu.TARGETS] if files is None \
        else qemu_objects(obj, files)
    log = LOGS / f"check-qemu-{name}.log"
    run(f"QEMU: build {name}", ["ninja", f"-j{JOBS}", *wanted], log, cwd=obj, env=env,
        count=r"^\[(\d+)/(\d+)\]")
    return warnings(read(log))


def steps_of(part):
    """One part of what is compiled, in a process of its own; how many problems it has."""
    bad = qemu_steps() if part == "qemu" else linux_steps(part)
    return min(len(bad), MANY)


def together(parts):
    """Compile the parts side by side, because no one of them keeps all cores busy: between
    a kernel's compiling and its next step's is the linking. Returns the problems' number."""
    running = [subprocess.Popen([sys.executable, "-B", __file__, part]) for part in parts]
    try:
        ends = [p.wait() for p in running]
    except BaseException:
        for p in running:
            p.terminate()
        for p in running:
            p.wait()
        raise
    if max(ends) > MANY or min(ends) < 0:
        raise Failed("not everything was judged, see above")
    return sum(ends)


def cli():
    parser = argparse.ArgumentParser(prog="make check")
    parser.add_argument("part", nargs="?", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.part:
        try:
            return steps_of(a.part)
        except KeyboardInterrupt:
            return 130                  # the parent says what happened
    if not any(wanted(step) for queue in QUEUES for step in queue.steps()):
        raise Failed(f"PATCH={PATCH}: no patch of a series begins like that")
    packages.ensure(packages.BUILD_TOOLS, packages.QEMU_TOOLS, packages.CHECK_TOOLS)
    with lock(BUILD / ".check.lock", "make check"):
        return check()


def check():
    bad = 0
    for queue in QUEUES:
        queue.assemble()
        queue.refuse_edits("make check judges the queue")
        found = checkpatch(queue)
        say(f"  {queue.name}: checkpatch on {len(queue.steps())} patches: "
            f"{'ok' if not found else f'{len(found)} problems'}")
        bad += len(found)
    if PATCH == "*":
        bad += len(told(models.check_models()))
    packages.meson()
    bad += together(["qemu", *FLAVOURS])
    say("check: " + (f"{bad} problems" if bad else "every step holds" if PATCH == "*" else
                     f"every step of {PATCH} holds"))
    return 1 if bad else 0


main(cli)
