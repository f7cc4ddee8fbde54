# SPDX-License-Identifier: GPL-2.0-only
"""make mutants: the tests notice when what they are for is broken.

A file of tests/mutants/ is a patch against the tree that has the whole series. What stands
above it says what it breaks, and which tests have to fail then:

    Caught-by: kunit iommu_attach.join_behind_a_walk
    Caught-by: sva sva_kva.sva_kva.seen_by_every_unit, or a crash

The first word is a suite of tests/suites.toml, in whose machine and with whose kernel the
test runs. The second is a KUnit suite and case, or a program and one of its tests; without
the case or the test, any of them will do. "Or a crash": a hang counts, too, and so does
trouble in the kernel's log. Each test named must pass on the tree as it is, and each must
catch the mutant.

The guest of a mutant runs beside the build of the next. What was caught is kept with the
verdicts of `make check`, keyed by all that it was made from.
"""

import argparse
import contextlib
import functools
import json
import multiprocessing
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import kernel
import ktap
import packages
import qemu
import selftests
import test
import vm
from common import (BUILD, JOBS, LOGS, ROOT, Failed, bold, compiler_env, digest, lock, main,
                    output, passed, passes, read, remove, run, say, shown)
from patchqueue import LINUX

MUTANTS = ROOT / "tests/mutants"
IMAGES = BUILD / "mutants"
TREE = BUILD / "linux-mutants"
# A test by itself takes seconds, a hang no longer than this.
LIMIT = {"kunit": 90, "guest": 150}
WORDS = {"caught": "caught by", "survived": bold("SURVIVED") + ":", "failed": "cannot be tried:"}
CAUGHT_BY = re.compile(r"Caught-by: (\S+) ([\w.]+)(, or a crash)?")


@functools.cache
def suites():
    return {s["name"]: s for s in test.all_suites()}


@dataclass(frozen=True)
class Test:
    """A test that a mutant names."""
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

    def run(self, image, log):
        """Boot an image for this test alone."""
        (LOGS / "mutants").mkdir(parents=True, exist_ok=True)
        log = f"mutants/{log}"
        suite = dict(suites()[self.suite], name=log, image=image, timeout=LIMIT[self.kind])
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
        return [n for n in names if f"{n}.".startswith(f"{self.name}.")]

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


def parse(name, text):
    """A mutant from its file; Failed if it is not one."""
    head, patch, _ = text.partition("\ndiff --git ")
    lines = head.splitlines()
    about = [l for l in lines if l and not l.startswith("Caught-by:")]
    if not patch or not about:
        raise Failed(f"mutant {name}: wants lines that say what it breaks, and a git patch")
    tests = []
    for line in (l for l in lines if l.startswith("Caught-by:")):
        match = CAUGHT_BY.fullmatch(line)
        if not match or suites().get(match[1], {}).get("kind") not in LIMIT:
            raise Failed(f"mutant {name}: not a suite of kind {' or '.join(LIMIT)} and a test: "
                         f"{line}")
        tests.append(Test(match[1], match[2], bool(match[3])))
    if not tests:
        raise Failed(f"mutant {name}: names no test in a line 'Caught-by: suite test'")
    return Mutant(name, text, " ".join(about), tests)


def all_mutants():
    return [parse(p.stem, read(p)) for p in sorted(MUTANTS.glob("*.patch"))]


# --- building ---

def snapshot():
    """The tree with what is not committed there, as a commit."""
    LINUX.assemble()
    return LINUX.git("stash", "create") or LINUX.git("rev-parse", "HEAD")


class Builder:
    """A work tree and an object directory for each kernel, for one mutant after the other."""

    def __init__(self, commit):
        self.commit, self.env, self.plain = commit, compiler_env(), {}

    def reset(self):
        LINUX.worktree(TREE, self.commit)
        output("git", "reset", "-q", "--hard", cwd=TREE)

    def keep(self, flavour, name):
        """A copy of the image that has just been built."""
        image = IMAGES / f"{name}-{flavour}"
        IMAGES.mkdir(exist_ok=True)
        shutil.copy(TREE / f"obj-{flavour}" / kernel.FLAVOURS[flavour].arch.image, image)
        return image

    def unmutated(self, flavour):
        if flavour not in self.plain:
            self.reset()
            wanted = kernel.fragments(kernel.FLAVOURS[flavour].fragments)
            kernel.compile_all(flavour, TREE, wanted)
            self.plain[flavour] = self.keep(flavour, "unmutated")
        return self.plain[flavour]

    def mutated(self, mutant):
        """{flavour: image} of the kernels that the mutant's tests want."""
        flavours = {t.flavour for t in mutant.tests}
        for flavour in flavours:
            self.unmutated(flavour)
        self.reset()
        output("git", "apply", "-", cwd=TREE, input=mutant.text)
        images = {}
        for flavour in flavours:
            image = Path(kernel.FLAVOURS[flavour].arch.image).name
            run(f"build {mutant.name}", [*kernel.command(flavour, TREE), f"-j{JOBS}", image],
                LOGS / f"mutants/{mutant.name}.build.log", env=self.env, quiet=True)
            images[flavour] = self.keep(flavour, mutant.name)
        return images


# --- running ---

def shared_parts(commit):
    """What all verdicts are made from."""
    return (LINUX.git("rev-parse", f"{commit}^{{tree}}"), qemu.key(), vm.INIT, selftests.SHIM,
            Path(test.__file__), Path(ktap.__file__), Path(vm.__file__), Path(__file__))


def keys(shared, mutant):
    """{test: (key of it on the unmutated tree, key of it on the mutant)}"""
    found = {}
    for t in mutant.tests:
        names, _, arch, append = kernel.FLAVOURS[t.flavour]
        parts = (*shared, str(t), json.dumps(suites()[t.suite]), kernel.fragments(names), append,
                 output(arch.gcc, "--version").splitlines()[0])
        found[t] = tuple(f"mutant-{digest(*parts, text)}" for text in ("", mutant.text))
    return found


def attempt(mutant, known, plain, images):
    """Run a mutant's tests, those not yet known to pass without it first: (state, why)."""
    said = []
    for n, t in enumerate(mutant.tests):
        if not passed(known[t][0]):
            why = t.passes(t.run(plain[t.flavour], f"{mutant.name}-{n}.without"))
            if why:
                return "failed", f"{t} does not pass without it: {why}"
            passes(known[t][0])
        caught, why = t.catches(t.run(images[t.flavour], f"{mutant.name}-{n}"))
        if not caught:
            return "survived", f"{t}: {why}"
        said.append(why)
    for t in mutant.tests:
        passes(known[t][1])
    return "caught", "; ".join(said)


class Guest:
    """The guests of a mutant, in a process of their own."""
    FORK = multiprocessing.get_context("fork")

    def __init__(self, mutant, *args):
        self.mutant, self.start = mutant, time.monotonic()
        self.pipe, end = self.FORK.Pipe(duplex=False)
        self.process = self.FORK.Process(target=self.work, args=(end, mutant, *args),
                                         daemon=True)
        self.process.start()
        end.close()

    @staticmethod
    def work(end, *args):
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


def results(mutants, commit, known):
    """(mutant, state, why, seconds) of each, in order. One builds, another boots."""
    builder, guest = Builder(commit), None
    try:
        for mutant in mutants:
            images, problem = None, None
            try:
                images = builder.mutated(mutant)
            except Failed as e:
                problem = str(e)
            if guest:
                yield guest.result()
                guest = None
            if problem:
                yield mutant, "failed", problem, 0
            else:
                guest = Guest(mutant, known[mutant.name], builder.plain, images)
        if guest:
            yield guest.result()
            guest = None
    finally:
        if guest:
            guest.end()
        remove(IMAGES)


def judge(mutants):
    commit = snapshot()
    shared = shared_parts(commit)
    known = {m.name: keys(shared, m) for m in mutants}
    todo = [m for m in mutants
            if not all(passed(key) for pair in known[m.name].values() for key in pair)]
    count = {"caught": len(mutants) - len(todo), "survived": 0, "failed": 0}
    if count["caught"]:
        say(f"  {count['caught']} of {len(mutants)} mutants are known to be caught")
    with contextlib.closing(results(todo, commit, known)) as found:
        for n, (mutant, state, why, took) in enumerate(found, 1):
            count[state] += 1
            say(f"  {n}/{len(todo)}  {mutant.name}: {WORDS[state]} {why}  ({took:.0f} s)")
            if state != "caught":
                say(f"    what it breaks: {mutant.about}\n"
                    f"    logs: {shown(LOGS)}/mutants/{mutant.name}*")
    say(f"{count['caught']} caught, {count['survived']} survived"
        + (f", {count['failed']} could not be tried" if count["failed"] else ""))
    return 1 if count["caught"] < len(mutants) else 0


def cli():
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--mutant", default="", help="files of tests/mutants/ without .patch, "
                        "comma-separated")
    wanted = [n for n in re.split(r"[ ,]+", parser.parse_args().mutant) if n]
    mutants = all_mutants()
    unknown = set(wanted) - {m.name for m in mutants}
    if unknown:
        raise Failed(f"no mutant '{', '.join(sorted(unknown))}' in {shown(MUTANTS)}; there are "
                     f"{', '.join(m.name for m in mutants)}")
    archs = {kernel.FLAVOURS[t.flavour].arch for m in mutants for t in m.tests}
    packages.ensure(packages.BUILD_TOOLS, packages.GUEST_TOOLS,
                    *(packages.ARM_GUEST_TOOLS + a.packages() for a in archs - {kernel.X86}))
    qemu.build()
    with lock(BUILD / ".mutants.lock", "make mutants"):
        return judge([m for m in mutants if not wanted or m.name in wanted])


if __name__ == "__main__":
    main(cli)
