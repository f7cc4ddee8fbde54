# SPDX-License-Identifier: GPL-2.0-only
"""make mutants SAMPLE=n: mutants made by operators, and how many of them the tests see.

They are made of the lines that the series adds to C code in drivers/iommu and mm, each file in
its turn, in an order that SEED= gives: the same seed gives the same sample as long as the code is
the same, and nearly the same when it changes. What does not compile, or compiles to the same
object, is replaced by the next. tests/sample.toml says which tests may see a file's mutants, and
tests/equivalent.toml names mutants that nobody can see. Survivors are written to
build/mutants-SEED/, each as it would stand in tests/mutants/.
"""

import contextlib
import fnmatch
import functools
import json
import os
import re
import tomllib
from collections import Counter
from dataclasses import dataclass

import mutate
import trial
from common import (BUILD, LOGS, ROOT, VERDICTS, Failed, bold, digest, passed, passes, read, remove, say,
                    shown, write_atomically)
from patchqueue import LINUX
from trial import Mutant, Test

TABLE = ROOT / "tests/sample.toml"
EQUIVALENT = ROOT / "tests/equivalent.toml"
WHERE = ("drivers/iommu", "mm")
TESTS = re.compile(r"kunit|mock|bench|litmus|selftest")     # in the names of files
TRIES = 3
AT_ONCE = 2                             # guests: KUnit's cases sleep a lot
WORDS = {"caught": "caught by", "survived": bold("SURVIVED") + ":", "discarded": "discarded:",
         "failed": bold("cannot be tried:")}


# --- what there is ---

@dataclass
class File:
    """A file that mutants are made of, its tests, and its mutants in the sample's order."""
    name: str
    source: str
    kunit: list
    guests: list
    order: list


def table():
    return tomllib.loads(read(TABLE))


def entry_of(file, entries):
    return next((e for e in entries if any(fnmatch.fnmatchcase(file, p) for p in e["files"])), None)


def tests_of(words):
    return [Test(*w.split()) for w in words]


def added(commit):
    """{file: the lines of it that the series adds}"""
    found, file = {}, None
    for m in re.finditer(r"(?m)^\+\+\+ b/(.*)|^@@ -\S+ \+(\d+)(?:,(\d+))? @@",
                         LINUX.git("diff", "-U0", "base", commit, "--", *WHERE)):
        if m[1]:
            file = found[m[1]] = set()
        else:
            file |= set(range(int(m[2]), int(m[2]) + int(m[3] or 1)))
    return found


def ordered(sites, seed):
    """The sites by chance, one operator after the other, so that rare ones are in a small sample.
    Each has its own lot: a change elsewhere in the file leaves the order of the others."""
    lots = {}
    for site in sorted(sites, key=lambda s: digest(seed, s.key)):
        lots.setdefault(site.operator, []).append(site)
    order = sorted(lots, key=lambda operator: digest(seed, sites[0].file, operator))
    return [lots[o][n] for n in range(max(map(len, lots.values()), default=0))
            for o in order if n < len(lots[o])]


def files_of(commit, seed, wanted=(), compiles=lambda file, flavour: True):
    """The files that mutants are made of, and why others are not: ([File], {name: why})."""
    found, without = [], {}
    entries = table()
    for name, lines in added(commit).items():
        if not name.endswith(".c") or TESTS.search(name) or \
                wanted and not any(fnmatch.fnmatch(name, w) for w in wanted):
            continue
        out, entry = entry_of(name, entries["left-out"]), entry_of(name, entries["files"])
        if out or not entry:
            without[name] = out["why"] if out else f"no tests in {shown(TABLE)}"
            continue
        kunit, guests = tests_of(entry["kunit"]), tests_of(entry["guests"])
        if not compiles(name, kunit[0].flavour):
            without[name] = f"the {kunit[0].flavour} kernel does not have it"
            continue
        source = LINUX.git("show", f"{commit}:{name}") + "\n"
        sites = mutate.sites(name, source, lines)
        if sites:
            found.append(File(name, source, kunit, guests, ordered(sites, seed)))
        else:
            without[name] = "nothing that an operator could change"
    return found, without


def equivalents():
    """{(file, function, operator, text): why}"""
    return {(e["file"], e["function"], e["operator"], e["text"]): e["why"]
            for e in tomllib.loads(read(EQUIVALENT)).get("mutant", [])}


def known_equivalent(site, table):
    return table.get((site.file, site.function, site.operator, site.text))


def picks(files, count, discarded):
    """(file, site), a site of each file in turn. discarded(site) says whether another one of its
    file is to take its place, once the site was tried."""
    queues, taken = {f.name: iter(f.order) for f in files}, 0
    while queues and taken < count:
        for file in files:
            for site in queues.get(file.name, ()):
                yield file, site
                if not discarded(site):
                    taken += 1
                    break
            else:
                queues.pop(file.name, None)
            if taken == count:
                return


# --- what is tried ---

def recall(key):
    """What was said under a key, if anything."""
    path = VERDICTS / key
    if not path.exists():
        return None
    os.utime(path)
    return json.loads(read(path))


def case_of(t, why):
    """The test that a verdict is about, by itself; None if it is about none."""
    match = re.match(r"(\w+)/(\w+)" if t.kind == "kunit" else r"(\w+): (\w+(?:\.\w+)+)", why)
    return Test(t.suite, f"{match[1]}.{match[2]}") if match else None


def seen_before(mutant):
    """The single test that saw a mutant of this name before, in this tree or another."""
    known = recall(f"seen-{mutant.name}")
    return known and Test(*known)


def see(mutant, t, image, log):
    """Run tests until one fails, and that one once more by itself: what fails only once is a test
    that a busy machine upsets. Which one it was is remembered."""
    why = t.watched(image, log)
    case = case_of(t, why or "")
    if case and case != t and not case.watched(image, f"{log}.again"):
        why = t.watched(image, f"{log}.again")
        case = case_of(t, why or "")
    if case:
        write_atomically(VERDICTS / f"seen-{mutant.name}", json.dumps([case.suite, case.name]))
    return why or ""


def unsound(t, key, image, log):
    """None if a test passes without a mutant, or why it does not, on a machine that may be busy."""
    for _ in range(TRIES):
        if passed(key):
            return None
        why = t.watched(image, log)
        if not why:
            passes(key)
            return None
    return why


def attempt(shared, mutant, plain, images):
    """Its tests one after the other, until one sees it: (state, why). Each verdict is kept."""
    first = seen_before(mutant)
    for n, t in enumerate(mutant.tests):
        key, log = trial.key(shared, t, mutant.text), f"{mutant.name}-{n}"
        why = recall(key)
        if why is None:
            wrong = unsound(t, trial.key(shared, t), plain[t.flavour], f"{log}.without")
            if wrong:
                return "failed", f"{t} does not pass without it: {wrong}"
            why = ""
            if first and first.suite == t.suite:
                why = see(mutant, first, images[t.flavour], log)
                first = None
            if why in ("", trial.NOTHING):          # a case that there is no more
                why = see(mutant, t, images[t.flavour], log)
            write_atomically(VERDICTS / key, json.dumps(why))
        if why:
            return "caught", f"{t}: {why}"
    return "survived", "none of " + ", ".join(map(str, mutant.tests))


class Sample:
    def __init__(self, count, seed, wanted, guests):
        self.count, self.guests = count, guests
        self.commit = trial.snapshot()
        self.shared = trial.shared_parts(self.commit)
        self.kernels = trial.Kernels(self.commit)
        self.files, self.without = files_of(self.commit, seed, wanted, self.kernels.compiles)
        self.equivalents = equivalents()
        self.home = BUILD / f"mutants-{seed}"
        self.sites, self.states = {}, {}

    def mutant(self, file, site):
        return Mutant(site.name, site.patch(file.source), site.about,
                      file.kunit + (file.guests if self.guests else []))

    def discard_key(self, mutant):
        return "discarded-" + trial.key(self.shared, mutant.tests[0], mutant.text)

    def before(self, mutant):
        """What earlier runs found: (state, why), or None."""
        why = recall(self.discard_key(mutant))
        if why:
            return "discarded", why
        for t in mutant.tests:
            why = recall(trial.key(self.shared, t, mutant.text))
            if why is None:
                return None
            if why:
                return "caught", f"{t}: {why}"
        return "survived", "none of " + ", ".join(map(str, mutant.tests))

    def todo(self):
        """The mutants that have to be tried. What is known of others is noted."""
        for file, site in picks(self.files, self.count,
                                lambda s: self.states[s.name] == "discarded"):
            self.sites[site.name] = site
            mutant = self.mutant(file, site)
            why = known_equivalent(site, self.equivalents)
            known = ("equivalent", why) if why else self.before(mutant)
            if known:
                self.note(mutant, *known)
            else:
                self.states[site.name] = "building"
                yield mutant

    def note(self, mutant, state, why, took=None):
        self.states[mutant.name] = state
        path = self.home / f"{mutant.name}.patch"
        if state == "survived":
            write_atomically(path, survivor(self.sites[mutant.name], mutant))
        else:
            path.unlink(missing_ok=True)
        if state == "discarded" and took is not None:
            write_atomically(VERDICTS / self.discard_key(mutant), json.dumps(why))
        if took is not None and state != "discarded":
            done = sum(s not in ("discarded", "building") for s in self.states.values())
            say(f"  {done}/{self.count}  {mutant.name}: {WORDS[state]} {why}  ({took:.0f} s)")

    def run(self):
        """Try all; say and keep what was found: {file: Counter of states}."""
        remove(self.home)
        self.home.mkdir(parents=True)
        with contextlib.closing(trial.results(self.todo(), self.kernels,
                                              functools.partial(attempt, self.shared),
                                              AT_ONCE)) as found:
            for result in found:
                self.note(*result)
        counts = {f.name: Counter() for f in self.files}
        for name, state in self.states.items():
            counts[self.sites[name].file][state] += 1
        return counts

    def names(self, state):
        return sorted(n for n, s in self.states.items() if s == state)


def survivor(site, mutant):
    """A file for tests/mutants/, as soon as a test sees it."""
    return (f"{site.about}\n\nfile = {json.dumps(site.file)}\nfunction = {json.dumps(site.function)}"
            f"\noperator = {json.dumps(site.operator)}\ntext = {json.dumps(site.text)}\n\n"
            + "".join(f"Not caught by: {t}\n" for t in mutant.tests) + f"\n{mutant.text}")


def report(rows, without):
    """The table of [(file, Counter of states)], in lines."""
    lines = [f"{'file':38} {'mutants':>7} {'caught':>7} {'survived':>9} {'rate':>6} "
             f"{'equivalent':>11} {'discarded':>10}"]
    total = Counter()
    for name, count in rows:
        total.update(count)
        lines.append(row(name, count))
    lines.append(row("all", total))
    lines += [f"not sampled: {name}: {why}" for name, why in sorted(without.items())]
    return lines


def row(name, count):
    tried = count["caught"] + count["survived"]
    rate = f"{100 * count['survived'] / tried:.0f} %" if tried else "-"
    return (f"{name:38} {tried + count['equivalent']:7} {count['caught']:7} {count['survived']:9} "
            f"{rate:>6} {count['equivalent']:11} {count['discarded']:10}"
            + (f"  {count['failed']} failed" if count["failed"] else ""))


def judge(count, seed, wanted, guests):
    sample = Sample(count, seed, wanted, guests)
    if not sample.files:
        raise Failed("nothing to make mutants of")
    lines = report(sample.run().items(), sample.without)
    say("\n".join(lines))
    write_atomically(sample.home / "table.txt", "\n".join(lines) + "\n")
    if sample.names("survived"):
        say(f"survivors: {shown(sample.home)}/*.patch; logs: {shown(LOGS)}/mutants/")
    return 1 if sample.names("failed") else 0
