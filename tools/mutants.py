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

With SAMPLE= it makes its mutants itself (tools/sample.py).
"""

import argparse
import contextlib
import functools
import re
from collections import Counter

import kernel
import packages
import qemu
import sample
import selftests
import trial
from common import BUILD, LOGS, ROOT, Failed, lock, main, read, say, shown
from patchqueue import LINUX
from trial import LIMIT, WORDS, Mutant, Test

MUTANTS = ROOT / "tests/mutants"
CAUGHT_BY = re.compile(r"Caught-by: (\S+) ([\w.]+)(, or a crash)?")


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
        if not match or trial.suites().get(match[1], {}).get("kind") not in LIMIT:
            raise Failed(f"mutant {name}: not a suite of kind {' or '.join(LIMIT)} and a test: "
                         f"{line}")
        tests.append(Test(match[1], match[2], bool(match[3])))
        refuse_unknown(name, tests[-1])
    if not tests:
        raise Failed(f"mutant {name}: names no test in a line 'Caught-by: suite test'")
    return Mutant(name, text, " ".join(about), tests, may_warn=True)


def refuse_unknown(mutant, t):
    """A test of a program of ours has its whole name, or none would run."""
    program, _, case = t.name.partition(".")
    known = selftests.tests_of(program) if t.kind == "guest" and case else {}
    if known and case not in known:
        fixture, _, last = case.rpartition(".")
        alike = [k for k in known if k.endswith(f".{last}") and k.startswith(fixture)] or known
        raise Failed(f"mutant {mutant}: {program} has no test '{case}'; with its fixture and variant "
                     "it is one of " + ", ".join(f"{program}.{k}" for k in alike))


def all_mutants():
    return [parse(p.stem, read(p)) for p in sorted(MUTANTS.glob("*.patch"))]


def judge(mutants):
    commit = LINUX.snapshot()
    shared = trial.shared_parts(commit)

    def caught(mutant):
        keys = (trial.key(shared, t, text) for t in mutant.tests for text in ("", mutant.text))
        return all(trial.recall(key) is not None for key in keys)
    todo = [m for m in mutants if not caught(m)]
    count = Counter(caught=len(mutants) - len(todo))
    if count["caught"]:
        say(f"  {count['caught']} of {len(mutants)} mutants are known to be caught")
    trial.ready(commit, {kernel.FLAVOURS[t.flavour].arch for m in todo for t in m.tests
                         if t.kind == "guest"})
    with contextlib.closing(trial.results(todo, trial.Kernels(commit), functools.partial(
            trial.each_catches, shared))) as found:
        for n, (mutant, state, why, took) in enumerate(found, 1):
            state = "failed" if state == "discarded" else state
            count[state] += 1
            say(f"  {n}/{len(todo)}  {mutant.name}: {WORDS[state]} {why}  ({took:.0f} s)")
            if state != "caught":
                say(f"    what it breaks: {mutant.about}\n"
                    f"    logs: {shown(LOGS)}/mutants/{mutant.name}*")
    say(f"{count['caught']} caught, {count['survived']} survived"
        + (f", {count['undecided']} undecided" if count["undecided"] else "")
        + (f", {count['failed']} could not be tried" if count["failed"] else ""))
    return 1 if count["caught"] < len(mutants) else 0


def named(names):
    """The mutants of tests/mutants/ that have these names; all, if there are none."""
    mutants = all_mutants()
    unknown = set(names) - {m.name for m in mutants}
    if unknown:
        raise Failed(f"no mutant '{', '.join(sorted(unknown))}' in {shown(MUTANTS)}; there are "
                     f"{', '.join(m.name for m in mutants)}")
    return [m for m in mutants if not names or m.name in names]


def number(word):
    if not re.fullmatch("[1-9][0-9]*", word):
        raise argparse.ArgumentTypeError(f"'{word}' is no number of mutants")
    return int(word)


def arguments(words=None):
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--mutant", default="", help="files of tests/mutants/ without .patch, "
                        "comma-separated")
    parser.add_argument("--sample", type=number, help="so many made by operators instead")
    parser.add_argument("--seed", help="another sample for another seed")
    parser.add_argument("--files", default="", help="of these files, globs of the ends of their "
                        "names, comma-separated")
    parser.add_argument("--guests", action="store_true", help="try survivors in guests, too")
    a = parser.parse_args(words)
    if a.sample and a.mutant:
        parser.error("MUTANT= is of those that have names, SAMPLE= makes others: one or the other")
    if not a.sample and (a.files or a.guests or a.seed):
        parser.error("SEED=, FILES= and GUESTS= are of a sample: SAMPLE= says of how many")
    return a


def cli():
    a = arguments()
    split = functools.partial(re.findall, r"[^ ,]+")
    mutants = [] if a.sample else named(split(a.mutant))
    archs = {kernel.FLAVOURS[t.flavour].arch for m in mutants for t in m.tests}
    packages.ensure(packages.BUILD_TOOLS, packages.GUEST_TOOLS,
                    *(a.packages() for a in archs))
    for arch in archs | {kernel.X86}:
        qemu.build(target=arch.target)
    with lock(BUILD / ".mutants.lock", "make mutants"):
        if a.sample:
            return sample.judge(a.sample, a.seed or "1", split(a.files), a.guests)
        return judge(mutants)


if __name__ == "__main__":
    main(cli)
