# SPDX-License-Identifier: GPL-2.0-only
"""How a mutant is tried: its kernel is built, and the tests that may see it boot.

The guest of a mutant runs beside the build of the next. What fails on a busy machine need not be
the mutant's fault. Of a mutant that operators made only what fails twice in the same way counts, and
what fails without a mutant judges none; of one with a name a case that its header names is enough,
and a crash counts if it comes again. Verdicts are kept with those of `make check`, keyed by all that
they were made from.
"""

import contextlib
import fcntl
import fnmatch
import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import kernel
import ktap
import qemu
import selftests
import test
import vm
from common import (BUILD, LOGS, VERDICTS, Failed, bold, digest, output, read, remove, say,
                    shown, write_atomically)
from patchqueue import LINUX

IMAGES = BUILD / "mutants"
TREE = BUILD / "linux-mutants"
# A test by itself takes seconds, a hang no longer than this.
LIMIT = {"kunit": 90, "guest": 150}
# Of a suite that is watched, the seconds that a case of it may take, or the boot may be silent: more
# than a case of KUnit waits for something, or it could not say what.
QUIET = {"kunit": 30, "guest": 90}
RESULT = re.compile(r"\bok \d|Subtest: |TAP version \d")
# What happens to a mutant, as it is told.
WORDS = {"caught": "caught by", "survived": bold("SURVIVED") + ":",
         "undecided": bold("undecided:"), "discarded": "discarded:",
         "failed": bold("cannot be tried:")}
# Marks of what is wrong: no test ran; kinds of trouble that a busy machine makes, too.
NOTHING, HANG, DEAD = "nothing ran", "hung", "ended early"


class Discarded(Failed):
    """A mutant of which there is nothing to boot."""


@contextlib.contextmanager
def turn(alone=False, what="turn"):
    """Builds and guests run beside each other; or one runs alone, once the others are done."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / f".mutants.{what}.door", "w") as door, \
            open(BUILD / f".mutants.{what}", "w") as inside:
        fcntl.flock(door, fcntl.LOCK_EX)        # those that come later wait behind one that waits
        fcntl.flock(inside, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


# --- tests ---

class Sight(NamedTuple):
    """What is wrong in a guest. Two of the same mark are of the same case, or kind of trouble."""
    mark: str
    why: str
    case: "Test" = None                 # by itself, if it is one


def kind_of(trouble):
    """The mark of a line of the kernel's log, or of what else ended a guest."""
    if trouble.startswith(f"{HANG}: "):
        return HANG
    known = vm.TROUBLE.search(trouble)
    return re.sub(r"\d+", "", known[0]) if known else \
        next((kind for kind, lines in vm.KINDS.items() if lines.search(trouble)), DEAD)


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
        if not self.failed and (re.search(r"\bnot ok \d", line) or
                                vm.TROUBLE.search(line) and "WARNING: guest: " not in line):
            self.failed = line.strip()

    def over(self, console, pid):
        """Why the guest is not needed any longer."""
        self.spent = time.monotonic() - waited(pid)
        self.heard = self.heard or self.spent
        with contextlib.suppress(FileNotFoundError), open(console, "rb") as f:
            f.seek(self.at)
            text = f.read()
            whole = text[:text.rfind(b"\n") + 1]
            self.at += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                self.line(line)
        if self.failed:
            return f"ended: {self.failed}"
        if self.spent > self.heard + self.quiet:
            return f"{HANG}: no test ended in {self.quiet} s"
        return None


def waited(pid):
    """Seconds that the thread of a process which did so longest has waited for a CPU."""
    stats = map(read, Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return max((int(s.split()[1]) for s in stats if s), default=0) / 1e9


@functools.cache
def suites():
    return {s["name"]: s for s in test.all_suites()}


@functools.cache
def programs(arch):
    """The selftests by name. Before guests begin, or each would make them."""
    return {p.name: p for p in selftests.all_programs(arch)}


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

    def run(self, image, log, watch=None, alone=False):
        """Boot an image for this test alone."""
        (LOGS / "mutants").mkdir(parents=True, exist_ok=True)
        log = f"mutants/{log}"
        suite = dict(suites()[self.suite], name=log, image=image, watch=watch)
        if watch:
            suite["append"] = f"{suite.get('append', '')} {watch.APPEND}"
        else:
            suite["timeout"] = LIMIT[self.kind]
        with turn(alone):
            if self.kind == "kunit":
                suite["append"] = (f"{suite.get('append', '')} kunit.filter_glob={self.name} "
                                   "kunit_shutdown=poweroff")
                return test.run_kunit(suite)
            program, _, case = self.name.partition(".")
            mine = programs(test.arch_of(suite))
            if program not in mine:
                raise Failed(f"no selftest program {program}")
            return test.run_programs(suite, [mine[program]], log, suite.get("environment", ""),
                                     arguments=f"-r {case}" if case else "")

    def has(self, name):
        """Whether a case of this name is one of this test."""
        return any(fnmatch.fnmatchcase(name, p) for p in (self.name, f"{self.name}.*"))

    def cases(self, verdict, state):
        """Names of the cases of this test that ended so; the end of a program, or of output in the middle
        of a case, is none of them."""
        torn = {c.why for c in verdict.cases if c.name == "output"}
        names = [re.sub(": |/", ".", c.name) for c in verdict.cases
                 if c.state == state and (self.kind == "kunit" or self.case(c.name))
                 and f"{c.name.split('/')[-1]}: missing subtest result line!" not in torn]
        return [n for n in names if self.has(n)]

    def case(self, name):
        """The test that a case of this one is by itself; None if it is the end of a program."""
        match = re.match(r"(\w+)/(\w+)" if self.kind == "kunit" else r"(\w+): (\w+(?:\.\w+)+)",
                         name)
        return Test(self.suite, f"{match[1]}.{match[2]}") if match else None

    def watched(self, image, log, alone=False):
        """Boot an image until something is wrong: the Sight of that, or None."""
        watch = Watch(QUIET[self.kind])
        return self.sight(self.run(image, log, watch, alone), watch.failed)

    def sight(self, verdict, line=None):
        """What is wrong, if the guest was ended because of a line of its log or by itself."""
        wrong = [c for c in verdict.cases if c.state == "not ok"]
        case = next((c for c in wrong if c.name not in test.NO_TEST), None)
        trouble = line or next((c.why for c in wrong if c.name in ("kernel log", "guest")), None)
        # Results that break off are only what follows from trouble.
        if case and ("not ok" in (line or "") or not trouble):
            alone = self.case(case.name)
            return Sight(alone.name if alone else case.name,
                         f"{case.name}: {case.why}".rstrip(": "), alone)
        if trouble:
            return Sight(kind_of(trouble), trouble)
        if wrong and any(self.has(re.sub(": |/", ".", c.name)) for c in verdict.cases):
            return Sight(wrong[0].name, wrong[0].why or wrong[0].name)
        return None if self.cases(verdict, "ok") else Sight(NOTHING, NOTHING)

    def passes(self, verdict):
        """None if it does, or why not."""
        for case in verdict.cases:
            if case.state == "not ok":
                return f"{case.name}: {case.why}"
        return None if self.cases(verdict, "ok") else "it does not run, or skips"

    def catches(self, verdict):
        """What it sees of a mutant, and by which case; or None, and what happened instead."""
        cases = self.cases(verdict, "not ok")
        if cases:
            return (Sight(cases[0], "", self),
                    cases[0] + (f" and {len(cases) - 1} more" if cases[1:] else ""))
        trouble = [re.sub(r"^\[[ .\d]+\] ", "", c.why) for c in verdict.cases
                   if c.name in ("kernel log", "guest")]
        if trouble and self.crash:
            return Sight(kind_of(trouble[0]), trouble[0]), trouble[0]
        if trouble:
            return None, f"its header allows no crash: {trouble[0]}"
        ended = [f"{c.name}: {c.why}" for c in verdict.cases if c.state == "not ok"]
        return None, ended[0] if ended else \
            "it passes" if self.cases(verdict, "ok") else "it does not run"


@dataclass
class Mutant:
    name: str
    text: str
    about: str
    tests: list
    may_warn: bool = False      # one chosen by hand stands for a class; a machine's would be seen

    @property
    def files(self):
        return re.findall(r"(?m)^\+\+\+ b/(\S+)", self.text)


# --- building ---

def warnings(said):
    """Warnings of a compiler, without the lines that they are about."""
    return set(re.findall(r"(?m): (warning: .*)$", said))


def refused(said, files):
    """Whether the compiler found an error in one of these files, or in what a macro makes there.
    One that has no memory or disk left, or is broken itself, has not looked."""
    names = "|".join(map(re.escape, files))
    return bool(re.search(r"(?m)^\S+:\d+:(?:\d+:)? error: ", said)
                and re.search(rf"(?m)^(?:\S*/)?(?:{names}):\d+:(?:\d+:)? (?:error|note): ", said))


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
        image = IMAGES / name / flavour
        image.parent.mkdir(parents=True, exist_ok=True)
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
            if refused(read(LOGS / f"mutants/{mutant.name}.build.log"), files):
                raise Discarded("does not compile") from e
            raise
        new = warnings(said)
        if new and not mutant.may_warn \
                and new - set().union(*(self.warns(o, flavour, mutant) for o in objects)):
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


def ready(commit, guests):
    """Take what is not of the kernels' tree from the work tree, which has to be the same: the parser,
    and for guests, whose architectures these are, their programs."""
    ktap.parser()
    for arch in guests:
        programs(arch)
    if LINUX.snapshot() != commit:
        raise Failed(f"{shown(LINUX.tree)} was edited while this began: run it again")


# --- verdicts ---

def recall(key):
    """What was said under a key; None if nothing was."""
    path = VERDICTS / key
    if not path.exists():
        return None
    os.utime(path)
    return json.loads(read(path))


def keep(key, said):
    write_atomically(VERDICTS / key, json.dumps(said))


def shared_parts(commit):
    """What all verdicts are made from: the tree, QEMU, and what builds, boots and judges."""
    code = [Path(m.__file__) for m in (kernel, ktap, selftests, test, vm)]
    return (LINUX.git("rev-parse", f"{commit}^{{tree}}"), qemu.key(), vm.ACCEL, Path(__file__), *code,
            vm.INIT, selftests.SHIM, json.dumps(test.expected_messages(), sort_keys=True))


def key(shared, t, text="", watched=False):
    """Of a test's verdict on a mutant, or on the unmutated tree."""
    names, _, arch, append = kernel.FLAVOURS[t.flavour]
    return "mutant-" + digest(*shared, str(t), json.dumps(suites()[t.suite]),
                              kernel.fragments(names), append, compiler(arch.gcc),
                              "watched" if watched else "", text, qemu_key(arch))


@functools.cache
def qemu_key(arch):
    """Of the QEMU of guests that are not x86's, whose all share."""
    return "" if arch is kernel.X86 else qemu.key(target=arch.target)


@functools.cache
def compiler(gcc):
    return output(gcc, "--version").splitlines()[0]


def see(t, image, log, unreliable=()):
    """Whether a test sees a mutant: (state, Sight). It fails twice in the same way: a case once
    more by itself, or, as anything else, while no other build or guest of `make mutants` runs."""
    first = t.watched(image, log)
    if not first:
        return "survived", None
    marks = [first.mark]
    for n, again in enumerate((first.case or t, t), 1):
        if first.mark == NOTHING:
            break
        sight = again.watched(image, f"{log}.again-{n}", alone=again == t)
        if sight and sight.mark in marks and sight.mark not in (NOTHING, *unreliable):
            return "caught", sight
        marks += [sight.mark] if sight else []
    return "undecided", first


def unreliable(shared, t, image, log):
    """The marks of what fails without a mutant, but not twice; told, and then known. Failed if the
    test does not pass."""
    with turn(alone=True, what="without"):      # of several that ask one runs it
        marks = recall(key(shared, t, watched=True))
        if marks is None:
            sight = t.watched(image, log)
            if sight:
                say(f"  {t} fails without a mutant: {sight.why}")
                again = t.watched(image, f"{log}.again", alone=True)
                if again:
                    raise Failed(f"{t} does not pass without it: {again.why}")
            # A hang judges only if no other build or guest of ours runs, as one may have now.
            marks = [sight.mark] if sight and sight.mark not in (HANG, DEAD) else []
            keep(key(shared, t, watched=True), marks)
    return marks


def one_sees(shared, mutant, plain, images):
    """Its tests one after the other, until one sees it: (state, why). What is sure is kept. The
    case that saw a mutant of this name before, in this tree or another, comes first."""
    doubts, seen = [], f"seen-{mutant.name}"
    before = recall(seen)
    for n, t in enumerate(mutant.tests):
        verdict, log = key(shared, t, mutant.text, watched=True), f"{mutant.name}-{n}"
        why = recall(verdict)
        if why is None:
            marks = unreliable(shared, t, plain[t.flavour], f"{log}.without")
            state = None
            if before and before[0] == t.suite and t.has(before[1]):
                state, sight = see(Test(*before), images[t.flavour], log, marks)
                before = None
            if state != "caught":
                state, sight = see(t, images[t.flavour], log, marks)
            if state == "undecided":
                doubts.append(f"{t}: {sight.why}")
                continue
            why = sight.why if sight else ""
            keep(verdict, why)
            if sight and sight.case:
                keep(seen, [sight.case.suite, sight.case.name])
        if why:
            return "caught", f"{t}: {why}"
    if doubts:
        return "undecided", "not again: " + "; ".join(doubts)
    return "survived", none_of(mutant)


def none_of(mutant):
    return "none of " + ", ".join(map(str, mutant.tests))


def each_catches(shared, mutant, plain, images):
    """Its tests, those not yet known to pass without it first: (state, why). What is kept is only
    that all catch it."""
    said = {}
    for n, t in enumerate(mutant.tests):
        image, log = images[t.flavour], f"{mutant.name}-{n}"
        if recall(key(shared, t)) is None:
            why = t.passes(t.run(plain[t.flavour], f"{log}.without"))
            if why:
                return "failed", f"{t} does not pass without it: {why}"
            keep(key(shared, t), "")
        caught, why = t.catches(t.run(image, log))
        if not caught:
            return "survived", f"{t}: {why}"
        if caught.case is None:         # a crash, which counts if it comes again
            again, _ = t.catches(t.run(image, f"{log}.again", alone=True))
            if not again or again.mark != caught.mark:
                return "undecided", f"not again: {t}: {why}"
        said[t] = why
    for t, why in said.items():
        keep(key(shared, t, mutant.text), why)
    return "caught", "; ".join(said.values())


# --- running ---

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
        remove(IMAGES / self.mutant.name)
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
                with turn():
                    images = kernels.mutated(mutant)
            except Failed as e:
                remove(IMAGES / mutant.name)
                problem = e
            if isinstance(problem, Discarded):
                yield mutant, "discarded", str(problem), 0
                continue
            while len(guests) == at_once or guests and problem:
                yield ended(guests)
            if problem:
                yield mutant, "failed", str(problem), 0
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
