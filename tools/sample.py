# SPDX-License-Identifier: GPL-2.0-only
"""make mutants SAMPLE=n: mutants made by operators, and how many of them the tests see.

They are made of the lines that the series adds to C code in drivers/iommu and mm. Of each file they
come in an order by lot that SEED= gives: the same seed gives the same sample as long as the code is
the same, and nearly the same when it changes. A file has the more of them the more could be made
of it, by the square root, and FILES= goes on in the order of some. What does not compile, or
compiles to the same object, is replaced by the next. tests/sample.toml says which tests may see a
file's mutants, and tests/equivalent.toml names mutants that nobody can see. Survivors are written
to build/mutants-SEED/, each as it would stand in tests/mutants/, and stay until something sees them.
"""

import contextlib
import fnmatch
import functools
import json
import math
import re
import tomllib
from collections import Counter
from dataclasses import dataclass

import kernel
import mutate
import trial
from common import BUILD, LOGS, ROOT, Failed, digest, read, say, shown, write_atomically
from patchqueue import LINUX
from trial import WORDS, Mutant, Test, keep, recall

TABLE = ROOT / "tests/sample.toml"
EQUIVALENT = ROOT / "tests/equivalent.toml"
WHERE = ("drivers/iommu", "mm")
TESTS = re.compile(r"kunit|mock|bench|litmus|selftest")     # in the names of files
LEAST = 4                               # of each file, if there are as many
AT_ONCE = 2                             # guests: KUnit's cases sleep a lot
CONFIDENCE = 0.9
TO_JUDGE = ("survived", "undecided")    # by a person


# --- what there is ---

@dataclass
class File:
    """A file that mutants are made of, its tests, and its mutants in the sample's order."""
    name: str
    source: str
    kunit: list
    guests: list
    order: list

    def mutant(self, site, guests):
        return Mutant(site.name, site.patch(self.source), site.about,
                      self.kunit + (self.guests if guests else []))

    def is_one_of(self, globs):
        """Whether it has one of these names, or the ends of them."""
        return any(fnmatch.fnmatchcase(f"/{self.name}", f"*/{g}") for g in globs)


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
    """The sites by lot. Each has its own: a change elsewhere in the file leaves the order of the
    others, and the first n are as good a sample as any."""
    return sorted(sites, key=lambda site: digest(seed, site.key))


def files_of(commit, seed, compiles=lambda file, flavour: True):
    """The files that mutants are made of, and why others are not: ([File], {name: why})."""
    found, without = [], {}
    entries = table()
    for name, lines in added(commit).items():
        if not name.endswith(".c") or TESTS.search(name):
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


def identity(site):
    """What names a site in tests/equivalent.toml, and at the head of a survivor's file."""
    return {"file": site.file, "function": site.function, "operator": site.operator,
            "text": site.text, "number": site.number}


def equivalents():
    """{the values of an identity: why}. Without a number it is the first of those that are alike."""
    return {(e["file"], e["function"], e["operator"], e["text"], e.get("number", 1)): e["why"]
            for e in tomllib.loads(read(EQUIVALENT)).get("mutant", [])}


def known_equivalent(site, table):
    return table.get(tuple(identity(site).values()))


def picks(files, count, discarded):
    """(file, site), one file after the other as is its share: by the square root of its sites, but
    LEAST of each come first. discarded(site) says whether another one of its file is to take its
    place, once the site was tried."""
    queues, taken = {f.name: iter(f.order) for f in files}, Counter()
    while queues and taken.total() < count:
        file = max((f for f in files if f.name in queues), key=lambda f: (
            taken[f.name] < LEAST, math.sqrt(len(f.order)) / (taken[f.name] + 1)))
        for site in queues[file.name]:
            yield file, site
            if not discarded(site):
                taken[file.name] += 1
                break
        else:
            del queues[file.name]


# --- what is tried ---

class Sample:
    """The mutants of a seed, of which some files are tried now; `name` is for their directory."""

    def __init__(self, count, seed, wanted=(), guests=False, name="mutants"):
        self.count, self.guests = count, guests
        commit = LINUX.snapshot()
        trial.ready(commit, {kernel.X86} if guests else ())
        self.shared = trial.shared_parts(commit)
        self.kernels = trial.Kernels(commit)
        self.files, self.without = files_of(commit, seed, self.kernels.compiles)
        self.wanted = [f for f in self.files if not wanted or f.is_one_of(wanted)]
        self.equivalents = equivalents()
        self.home = BUILD / f"{name}-{seed}"
        self.sites, self.states = {}, {}

    def verdict_key(self, t, mutant):
        return trial.key(self.shared, t, mutant.text, watched=True)

    def all_key(self, what, mutant):
        """Of what is said of a mutant in all the kernels that its tests want."""
        return f"{what}-" + digest(self.verdict_key(mutant.tests[0], mutant),
                                   *sorted({t.flavour for t in mutant.tests}))

    def discard_key(self, mutant):
        return self.all_key("discarded", mutant)

    def doubt_key(self, mutant):
        return self.all_key("doubt", mutant)

    def known(self, file, site):
        """What is known of a mutant: (state, why), or None. What a guest saw without GUESTS=1 being
        asked for now was seen all the same."""
        why = known_equivalent(site, self.equivalents)
        if why:
            return "equivalent", why
        mutant = file.mutant(site, self.guests)
        why = recall(self.discard_key(mutant))
        if why:
            return "discarded", why
        said = {t: recall(self.verdict_key(t, mutant)) for t in file.kunit + file.guests}
        for t, why in said.items():
            if why:
                return "caught", f"{t}: {why}"
        if any(said[t] is None for t in mutant.tests):
            return None
        return "survived", trial.none_of(mutant)

    def todo(self):
        """The mutants that have to be tried. What is known of others is noted."""
        for file, site in picks(self.wanted, self.count,
                                lambda s: self.states[s.name] == "discarded"):
            known = self.known(file, site)
            self.sites[site.name] = site
            if known:
                self.note(file.mutant(site, self.guests), *known)
            else:
                self.states[site.name] = "building"
                yield file.mutant(site, self.guests)

    def doubt(self, file, site):
        """As known(), of a mutant that is to be tried again: it was, or has survived KUnit."""
        mutant = file.mutant(site, self.guests)
        why = recall(self.doubt_key(mutant))
        if why is None and all(recall(self.verdict_key(t, mutant)) == "" for t in file.kunit):
            why = "not tried in guests"
        return why and ("undecided", why)

    def deepen(self):
        """Note what is known of each file beyond its share: FILES= went on there."""
        for file in self.files:
            for site in file.order:
                if site.name in self.states:
                    continue
                known = self.known(file, site) or self.doubt(file, site)
                if not known:
                    break
                self.sites[site.name] = site
                self.note(file.mutant(site, self.guests), *known)

    def note(self, mutant, state, why, took=None):
        self.states[mutant.name] = state
        path = self.home / f"{mutant.name}.patch"
        if state in TO_JUDGE:
            write_atomically(path, to_judge(self.sites[mutant.name], mutant, state, why))
        elif state != "failed":
            path.unlink(missing_ok=True)
        if state == "discarded" and took is not None:
            keep(self.discard_key(mutant), why)
        if state in ("undecided", "failed") and took is not None:
            keep(self.doubt_key(mutant), why.split("\n")[0])
        if took is not None and state != "discarded":
            done = sum(s not in ("discarded", "building") for s in self.states.values())
            say(f"  {done}/{self.count}  {mutant.name}: {WORDS[state]} {why}  ({took:.0f} s)")

    def run(self):
        """Try all; say and keep what was found."""
        self.home.mkdir(parents=True, exist_ok=True)
        there = {s.name for f in self.files for s in f.order}
        for path in self.home.glob("*.patch"):
            if path.stem not in there:          # its line is not there any more
                path.unlink()
        with contextlib.closing(trial.results(
                self.todo(), self.kernels, functools.partial(trial.one_sees, self.shared),
                AT_ONCE)) as found:
            for result in found:
                self.note(*result)

    def names(self, state):
        return sorted(n for n, s in self.states.items() if s == state)

    def report(self):
        """The table of all files, and what is left to judge, in lines."""
        lines = table_of({f.name: (len(f.order), Counter(
            self.states[s.name] for s in f.order if s.name in self.states)) for f in self.files})
        lines += [f"{state}: {name}: {self.sites[name].about}"
                  for state in (*TO_JUDGE, "failed") for name in self.names(state)]
        for t in dict.fromkeys(t for f in self.files for t in f.kunit + f.guests):
            lines += [f"judges none: {t}: {mark}: it failed without a mutant, too"
                      for mark in recall(trial.key(self.shared, t, watched=True)) or ()]
        return lines + [f"not sampled: {n}: {why}" for n, why in sorted(self.without.items())]


def to_judge(site, mutant, state, why):
    """A file for tests/mutants/, as soon as a test sees it."""
    return (f"{site.about}\n\n"
            + "".join(f"{k} = {json.dumps(v)}\n" for k, v in identity(site).items())
            + "\n" + (f"Undecided: {why}\n" if state == "undecided" else
                      "".join(f"Not caught by: {t}\n" for t in mutant.tests))
            + f"\n{mutant.text}")


# --- what is told ---

def interval(fewest, most, tried, sites):
    """Of `sites` mutants `tried` were drawn by lot, of which so many survived: the shares of all that
    go with that, the less likely 5 % on each side apart."""
    beyond = (1 - CONFIDENCE) / 2

    def at_most(k, alive):
        """How likely it is to draw no more than k survivors if so many are alive."""
        return sum(math.comb(alive, i) * math.comb(sites - alive, tried - i)
                   for i in range(k + 1)) / math.comb(sites, tried)
    low = next(a for a in range(fewest, sites + 1) if 1 - at_most(fewest - 1, a) >= beyond)
    high = next(a for a in range(sites - tried + most, -1, -1) if at_most(most, a) >= beyond)
    return low / sites, high / sites


HEAD = ("tried", "of", "caught", "survived", "rate", "of all, 90 %", "undecided", "equivalent",
        "discarded", "failed")


def row(name, *cells):
    return (f"{name:38}" + "".join(f"{c:>{max(5, len(h)) + 2}}" for h, c in zip(HEAD, cells))).rstrip()


def those_of(sites, count):
    """Tried, and mutants of all. What is equivalent or compiles to nothing new is none of them."""
    return (count["caught"] + count["survived"] + count["undecided"],
            sites - count["equivalent"] - count["discarded"])


def figures(sites, count):
    """A row's cells."""
    alive, doubt = count["survived"], count["undecided"]
    tried, mutants = those_of(sites, count)
    rate = between = "-"
    if tried:
        low, high = interval(alive, alive + doubt, tried, mutants)
        rate, between = f"{100 * alive / tried:.0f} %", f"{100 * low:.0f}-{100 * high:.0f} %"
    return (tried, mutants, count["caught"], alive, rate, between, *rest_of(count))


def rest_of(count):
    return [count[s] or "" for s in ("undecided", "equivalent", "discarded", "failed")]


def table_of(rows):
    """The table of {file: (sites, Counter of states)}, in lines; without files that were not tried."""
    rows = {name: (sites, count) for name, (sites, count) in rows.items() if count}
    return [row("file", *HEAD), *(row(name, *figures(*r)) for name, r in rows.items()),
            row("all", *figures_of_all(list(rows.values())))]


def figures_of_all(rows):
    """A small file has more of its mutants tried: in the rate each has the weight of all its own."""
    total = sum((count for _, count in rows), Counter())
    tried, mutants = those_of(sum(sites for sites, _ in rows), total)
    parts = [(*those_of(*r), r[1]["survived"]) for r in rows]
    of, alive = (sum(p) for p in zip((0, 0), *((m, m * a / t) for t, m, a in parts if t)))
    return (tried, mutants, total["caught"], total["survived"],
            f"{100 * alive / of:.0f} %" if of else "-", "-", *rest_of(total))


def judge(count, seed, wanted, guests):
    sample = Sample(count, seed, wanted, guests)
    for glob in wanted:
        if not any(f.is_one_of([glob]) for f in sample.files):
            raise Failed(f"FILES={glob}: no file that mutants are made of; there are "
                         + ", ".join(f.name for f in sample.files))
    sample.run()
    sample.deepen()
    lines = sample.report()
    say("\n".join(lines))
    write_atomically(sample.home / "table.txt", "\n".join(lines) + "\n")
    if any(sample.names(state) for state in TO_JUDGE):
        say(f"to judge: {shown(sample.home)}/*.patch; logs: {shown(LOGS)}/mutants/")
    return 1 if sample.names("failed") else 0
