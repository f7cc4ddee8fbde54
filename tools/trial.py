# SPDX-License-Identifier: GPL-2.0-only
"""How a mutant is tried: its kernel is built, and the tests that may see it boot.

The guest of a mutant runs beside the build of the next. What is known is kept with the verdicts
of `make check`, keyed by all that it was made from.
"""

import contextlib
import fnmatch
import functools
import json
import multiprocessing
import multiprocessing.connection
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import kernel
import ktap
import qemu
import selftests
import test
import vm
from common import BUILD, LOGS, Failed, digest, output, read, remove
from patchqueue import LINUX

IMAGES = BUILD / "mutants"
TREE = BUILD / "linux-mutants"
# A test by itself takes seconds, a hang no longer than this.
LIMIT = {"kunit": 90, "guest": 150}
# Of a suite that is watched, the seconds that a case of it may take, or the boot may be silent.
QUIET = {"kunit": 20, "guest": 90}
RESULT = re.compile(r"\bok \d|Subtest: |TAP version \d")
NOTHING = "nothing ran"


class Discarded(Failed):
    """A mutant of which there is nothing to boot."""


class Watch:
    """Ends a guest as soon as it is known that its tests fail. Time that the guest waits for a
    CPU of a busy machine does not count for a hang."""
    # No reports of what a busy machine does to a guest, as a hang is seen from here; short races.
    APPEND = ("nosoftlockup rcupdate.rcu_cpu_stall_suppress=1 "
              "iommu_attach_kunit.race_ms=100")

    def __init__(self, quiet):
        self.quiet, self.at, self.failed, self.begun = quiet, 0, None, False
        self.spent = self.heard = 0

    def line(self, line):
        """A line of the console, or of what a program prints."""
        self.begun = self.begun or bool(re.search(r"TAP version \d", line))
        if not self.begun or RESULT.search(line):
            self.heard = self.spent
        if not self.failed and (re.search(r"\bnot ok \d", line) or vm.TROUBLE.search(line)):
            self.failed = line.strip()

    def over(self, console, pid):
        """Why the guest is not needed any longer."""
        self.spent = time.monotonic() - waited(pid)
        self.heard = self.heard or self.spent
        with contextlib.suppress(FileNotFoundError), open(console, errors="replace") as f:
            f.seek(self.at)
            text = f.read()
            whole = text[:text.rfind("\n") + 1]
            self.at += len(whole.encode(errors="replace"))
            for line in whole.splitlines():
                self.line(line)
        if self.failed:
            return f"ended: {self.failed}"
        if self.spent > self.heard + self.quiet:
            return f"hung: no test ended in {self.quiet} s"
        return None


def waited(pid):
    """Seconds that the thread of a process which did so longest has waited for a CPU."""
    stats = map(read, Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return max((int(s.split()[1]) for s in stats if s), default=0) / 1e9


@functools.cache
def suites():
    return {s["name"]: s for s in test.all_suites()}


@dataclass(frozen=True)
class Test:
    """A test that may see a mutant. A KUnit test may be a pattern, for several."""
    suite: str
    name: str
    crash: bool = False

    def __str__(self):
        return f"{self.suite} {self.name}"

    @property
    def kind(self):
        return suites()[self.suite]["kind"]

    @property
    def flavour(self):
        return suites()[self.suite]["kernel"]

    def run(self, image, log, watch=None):
        """Boot an image for this test alone."""
        (LOGS / "mutants").mkdir(parents=True, exist_ok=True)
        log = f"mutants/{log}"
        suite = dict(suites()[self.suite], name=log, image=image, watch=watch)
        if watch:
            suite["append"] = f"{suite.get('append', '')} {watch.APPEND}"
        else:
            suite["timeout"] = LIMIT[self.kind]
        if self.kind == "kunit":
            suite["append"] = (f"{suite.get('append', '')} kunit.filter_glob={self.name} "
                               "kunit_shutdown=poweroff")
            return test.run_kunit(suite)
        program, _, case = self.name.partition(".")
        return test.run_programs(suite, selftests.build_names([program]), log,
                                 arguments=f"-r {case}" if case else "")

    def cases(self, verdict, state):
        """Names of the cases of this test that ended so."""
        names = [re.sub(": |/", ".", c.name) for c in verdict.cases if c.state == state]
        return [n for n in names if any(fnmatch.fnmatchcase(n, p)
                                        for p in (self.name, f"{self.name}.*"))]

    def watched(self, image, log):
        """Boot an image until something is wrong: what that was, or None."""
        watch = Watch(QUIET[self.kind])
        verdict = self.run(image, log, watch)
        wrong = [c for c in verdict.cases if c.state == "not ok"]
        case = next((c for c in wrong if c.name not in test.NO_TEST), None)
        trouble = watch.failed or next((c.why for c in wrong
                                        if c.name in ("kernel log", "guest")), None)
        # Results that break off are only what follows from trouble.
        if case and ("not ok" in (watch.failed or "") or not trouble):
            return f"{case.name}: {case.why}".rstrip(": ")
        if trouble or wrong:
            return trouble or wrong[0].why or wrong[0].name
        return None if self.cases(verdict, "ok") else NOTHING

    def passes(self, verdict):
        """None if it does, or why not."""
        for case in verdict.cases:
            if case.state == "not ok":
                return f"{case.name}: {case.why}"
        return None if self.cases(verdict, "ok") else "it does not run, or skips"

    def catches(self, verdict):
        """Whether it does, and by which case, or what happened instead."""
        cases = self.cases(verdict, "not ok")
        if cases:
            return True, cases[0] + (f" and {len(cases) - 1} more" if cases[1:] else "")
        trouble = [re.sub(r"^\[[ .\d]+\] ", "", c.why) for c in verdict.cases
                   if c.name in ("kernel log", "guest")]
        if trouble:
            return self.crash, ("" if self.crash else "its header allows no crash: ") + trouble[0]
        return False, "it passes" if self.cases(verdict, "ok") else "it does not run"


@dataclass
class Mutant:
    name: str
    text: str
    about: str
    tests: list

    @property
    def files(self):
        return re.findall(r"(?m)^\+\+\+ b/(\S+)", self.text)


# --- building ---

def snapshot():
    """The tree with what is not committed there, as a commit."""
    LINUX.assemble()
    LINUX.git("update-index", "-q", "--refresh", check=False)   # or stash may fail without a word
    return LINUX.git("stash", "create") or LINUX.git("rev-parse", "HEAD")


def warnings(said):
    """Warnings of a compiler, without the lines that they are about."""
    return set(re.findall(r"(?m): (warning: .*)$", said))


class Kernels:
    """Kernels without a mutant and with one after the other, in one work tree."""

    def __init__(self, commit):
        self.commit = commit
        self.builders, self.plain, self.objects, self.warned = {}, {}, {}, {}

    def reset(self):
        LINUX.worktree(TREE, self.commit)
        output("git", "reset", "-q", "--hard", cwd=TREE)

    def keep(self, flavour, name):
        """A copy of the image that has just been built."""
        image = IMAGES / f"{name}-{flavour}"
        IMAGES.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.builders[flavour].image, image)
        return image

    def unmutated(self, flavour):
        if flavour not in self.plain:
            self.reset()
            builder = self.builders[flavour] = kernel.Builder(flavour, TREE)
            builder.build()
            self.objects[flavour] = {str(p.relative_to(builder.obj)): digest(p)
                                     for p in builder.obj.rglob("*.o")}
            self.plain[flavour] = self.keep(flavour, "unmutated")
        return self.plain[flavour]

    def compiles(self, file, flavour):
        """Whether a file is in a kernel."""
        self.unmutated(flavour)
        return f"{file[:-2]}.o" in self.objects[flavour]

    def make(self, flavour, name, *targets):
        """What make printed."""
        log = LOGS / f"mutants/{name}.build.log"
        self.builders[flavour].make(f"build {name}", log, *targets, quiet=True)
        return read(log)

    def warns(self, made, flavour, mutant):
        """What the compiler says of the file without the mutant."""
        if (made, flavour) not in self.warned:
            self.reset()
            (self.builders[flavour].obj / made).unlink()
            self.warned[made, flavour] = warnings(self.make(flavour, mutant.name, made))
            output("git", "apply", "-", cwd=TREE, input=mutant.text)
            self.make(flavour, mutant.name, made)
        return self.warned[made, flavour]

    def differs(self, mutant, flavour):
        """Compile the files of a mutant, and refuse one that nobody could see."""
        files = [f for f in mutant.files if f.endswith(".c")]
        objects = [f"{f[:-2]}.o" for f in files if self.compiles(f, flavour)]
        if files and not objects:
            raise Discarded(f"the {flavour} kernel has none of its files")
        try:
            said = self.make(flavour, mutant.name, *objects) if objects else ""
        except Failed as e:
            raise Discarded("does not compile") from e
        new = warnings(said)
        if new and new - set().union(*(self.warns(o, flavour, mutant) for o in objects)):
            raise Discarded("the compiler warns")
        obj = self.builders[flavour].obj
        if len(files) == len(mutant.files) and \
                all(digest(obj / o) == self.objects[flavour][o] for o in objects):
            raise Discarded("the compiler makes the same of it")

    def mutated(self, mutant):
        """{flavour: image} of the kernels that the mutant's tests want."""
        flavours = {t.flavour for t in mutant.tests}
        for flavour in flavours:
            self.unmutated(flavour)
        self.reset()
        output("git", "apply", "-", cwd=TREE, input=mutant.text)
        images = {}
        for flavour in flavours:
            self.differs(mutant, flavour)
            self.make(flavour, mutant.name, self.builders[flavour].image.name)
            images[flavour] = self.keep(flavour, mutant.name)
        return images


# --- running ---

def shared_parts(commit):
    """What all verdicts are made from."""
    return (LINUX.git("rev-parse", f"{commit}^{{tree}}"), qemu.key(), vm.INIT, selftests.SHIM,
            Path(test.__file__), Path(ktap.__file__), Path(vm.__file__), Path(__file__))


def key(shared, t, text=""):
    """Of a test's verdict on a mutant, or on the unmutated tree."""
    names, _, arch, append = kernel.FLAVOURS[t.flavour]
    return "mutant-" + digest(*shared, str(t), json.dumps(suites()[t.suite]),
                              kernel.fragments(names), append, compiler(arch.gcc), text)


@functools.cache
def compiler(gcc):
    return output(gcc, "--version").splitlines()[0]


class Guest:
    """The guests of a mutant, in a process of their own."""
    FORK = multiprocessing.get_context("fork")

    def __init__(self, attempt, mutant, *args):
        self.mutant, self.start = mutant, time.monotonic()
        self.pipe, end = self.FORK.Pipe(duplex=False)
        self.process = self.FORK.Process(target=self.work, args=(end, attempt, mutant, *args),
                                         daemon=True)
        self.process.start()
        end.close()

    @staticmethod
    def work(end, attempt, *args):
        # Of a Ctrl-C, which all get, the parent tells by SIGTERM: once.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with contextlib.suppress(KeyboardInterrupt):
            try:
                end.send(attempt(*args))
            except (Failed, OSError, subprocess.SubprocessError) as e:
                end.send(("failed", str(e)))

    def result(self):
        try:
            state, why = self.pipe.recv()
        except EOFError:
            state, why = "failed", "the process that boots its guests died"
        self.process.join()
        return self.mutant, state, why, time.monotonic() - self.start

    def end(self):
        self.process.terminate()
        self.process.join()


def results(mutants, kernels, attempt, at_once=1):
    """(mutant, state, why, seconds) of each. One builds while others, `at_once` at most, are in
    guests: attempt(mutant, images without it, images with it) says (state, why)."""
    guests = []
    try:
        for mutant in mutants:
            images, problem = None, None
            try:
                images = kernels.mutated(mutant)
            except Discarded as e:
                yield mutant, "discarded", str(e), 0
                continue
            except Failed as e:
                problem = str(e)
            while len(guests) == at_once or guests and problem:
                yield ended(guests)
            if problem:
                yield mutant, "failed", problem, 0
            else:
                guests.append(Guest(attempt, mutant, kernels.plain, images))
        while guests:
            yield ended(guests)
    finally:
        for guest in guests:
            guest.end()
        remove(IMAGES)


def ended(guests):
    """The result of the first that has one; it is taken off."""
    ready = multiprocessing.connection.wait([g.pipe for g in guests])
    guest = next(g for g in guests if g.pipe in ready)
    guests.remove(guest)
    return guest.result()
