# SPDX-License-Identifier: GPL-2.0-only
"""The suites `notice*`: with an invalidation lost on purpose, which tests of the
programs see it?

The programs run once for each kind of invalidation, and the emulated IOMMU loses one of that kind
in each change of a page table (SVADEV_DROP). Where the file has nth, it is the nth that is lost, or
each with 0xffffffff. tests/notice.toml, or that of the suite's name or of its `list`, says what every test does:
one that sees the loss has to fail; one that loses a command and passes has to be listed with the
reason, and so has one that cannot be relied on, with the ways in which it may fail. A test that
changes a page table and loses nothing is listed, too; one that changes none need not be, and passes.
So a test that goes blind is found, and one that sees more than is written, too.

    python3 -B tools/notice.py [--suite notice-arm64] [rounds]

runs them and prints the file as it would have to be for what was observed; a test that ends
differently in several rounds is under [KIND.either]. Reasons are kept from the file, or missing.
"""

import argparse
import fnmatch
import json
import re
import tomllib
from dataclasses import dataclass, field

import kernel
import selftests
from common import LOGS, ROOT, lock, BUILD, main, read, say, shown, write_atomically
from ktap import Case, fail

FILE = "the suite's file in tests/"
LOST = re.compile(r"# lost on purpose: (\d+) commands")
ENDED = re.compile(r"(?:not )?ok \d+ (\S+)")
FAILED = re.compile(r"# \S+:\d+:\w+:(Expected .*)|# \S+: (Test (?:terminated (?!by assertion)|exited).*)")
# How a test is listed, but for those that see: with a reason.
WORDS = ("sees", "blind", "either", "nothing")
# And one that may fail because of what another has lost; it need not change anything itself.
LISTED = (*WORDS, "later")
MARKS = {"not ok": "sees", "ok": "-", "skip": "skips"}
TODO = "WHY?"
# What loses a command on purpose, if SVADEV_DROP says so.
CHANGES = {"SVA_CHANGE", "SVA_COUNTED"}


@dataclass
class Seen:
    """What a test did when a command of a kind was lost: `lost` is how many were, `failed` the
    expectations that did not hold."""
    state: str
    lost: int
    failed: list = field(default_factory=list)

    def mark(self):
        return "blind" if self.state == "ok" and self.lost else MARKS[self.state]


def list_of(suite):
    """The name of a suite's list: its own, unless tests/suites.toml says that it is another's."""
    return suite.get("list", suite["name"])


def file_of(name):
    """The file of the list of this name: what is expected of the tests."""
    return ROOT / f"tests/{name}.toml"


def expectations(name="notice"):
    return tomllib.loads(read(file_of(name)))


def changing(program):
    """The tests of a program that change a page table under the eyes of SVADEV_DROP, by themselves or
    by a function that they call."""
    words, found = set(), set(CHANGES)
    called = {re.search(r"(\w+)\(", head)[1]: set(re.findall(r"\w+", body))
              for name in (f"{program}.c", "sva_utils.c") for head, body in selftests.functions(name)
              if not head.startswith("TEST") and "(" in head}
    while found - words:
        words |= found
        found = {name for name, uses in called.items() if uses & words}
    return {name for name, body in selftests.tests_of(program).items()
            if words & set(re.findall(r"\w+", body))}


def lost(text):
    """{"program: test": (commands that it lost, what failed)}, from the output of run_programs()."""
    found, program, count, failed = {}, "", 0, []
    for line in text.splitlines():
        begun, gone, ended = re.match(r"## (?!exit)(\S+)", line), LOST.search(line), ENDED.match(line)
        if begun:
            program, count, failed = begun[1], 0, []
        elif gone:
            count += int(gone[1])
        elif ended:
            found[f"{program}: {ended[1]}"] = count, failed
            count, failed = 0, []
        else:
            failed += [m[1] or m[2] for m in FAILED.finditer(line)]
    return found


def observe(suite, kind, expected, run_programs):
    """Run the programs with a kind lost: ({test: Seen}, what else went wrong). `expected` may also say
    which of them (nth), and have parameters of the kernel (append)."""
    programs = selftests.build_names(expected["programs"],
                                     kernel.FLAVOURS[suite["kernel"]].arch)
    suite = dict(suite, append=f"{suite.get('append', '')} {expected.get('append', '')}")
    verdict = run_programs(suite, programs, f"{suite['name']}-{kind}",
                           f"SVADEV_DROP={kind}:{expected.get('nth', 1)}")
    found = lost(verdict.text)
    # A page that is written after it was freed is what a lost invalidation leads to.
    wrong = [c for c in verdict.cases if c.name not in found]
    if any("pagealloc: " in c.why for c in wrong):
        wrong = [c for c in wrong if not re.search("pagealloc: |Call [Tt]race:", c.why)]
    return {c.name: Seen(c.state, *found[c.name]) for c in verdict.cases if c.name in found}, wrong


def matching(name, patterns):
    return next((p for p in patterns if p == name or fnmatch.fnmatchcase(name, p)), None)


def judge(kind, expected, seen):
    """The cases of a kind."""
    cases, used = [], set()
    for name, s in sorted(seen.items()):
        hits = {word: matching(name, expected.get(word, ())) for word in LISTED}
        used |= {(w, p) for w, p in hits.items() if p}
        title = f"{name}, {kind} lost"
        if len([p for p in hits.values() if p]) > 1:
            cases.append(fail(title, f"is listed twice in {FILE}: {hits}"))
        elif hits["either"]:
            cases.append(unsteady(title, s, expected["either"][hits["either"]]["fails"]))
        elif hits["later"] and not s.lost:
            cases.append(suffering(title, s, expected["later"][hits["later"]]["fails"]))
        elif hits["sees"] and s.state != "not ok":
            cases.append(fail(title, "skips" if s.state == "skip" else
                              f"passes, though {s.lost} commands were lost"))
        elif hits["sees"]:
            cases.append(sighted(title, s))
        elif s.state == "not ok":
            cases.append(fail(title, f"fails, and {FILE} does not say that it sees this"))
        elif s.mark() == "blind" and not hits["blind"]:
            cases.append(fail(title, f"does not see it, though {s.lost} commands were lost"))
        elif hits["blind"] and s.mark() != "blind":
            cases.append(fail(title, "loses nothing: it is not blind"))
        elif s.state == "ok":
            cases.append(Case(title, "ok"))
    for word in LISTED:
        for pattern in expected.get(word, ()):
            if (word, pattern) not in used:
                cases.append(fail(f"{pattern}, {kind} lost", f"{FILE} lists it, but "
                                  "there is no such test"))
    return cases


def sighted(title, seen):
    """The case of a test that has failed, as it must: because of the loss, not before it."""
    died = [f for f in seen.failed if f.startswith("Test ")]
    if died or not seen.lost:
        return fail(title, f"fails, but not by what it sees: {'; '.join(died) or 'nothing was lost'}")
    return Case(title, "ok")


def suffering(title, seen, fails):
    """The case of a test that may fail, as it may: because of what it sees."""
    other = [f for f in seen.failed if not re.search(fails, f)]
    if seen.state == "not ok" and (other or not seen.failed):
        return fail(title, "fails in another way than it may: " + "; ".join(other or ["no expectation"]))
    return Case(title, "ok")


def unsteady(title, seen, fails):
    """The case of a test that may fail or not: nothing but what it sees of the loss excuses it."""
    case = suffering(title, seen, fails)
    if case.state != "ok":
        return case
    skips = seen.state == "skip" and not seen.failed    # and not excused, as on the base
    if skips or not seen.lost:
        return fail(title, "skips" if skips else "loses nothing")
    return Case(title, "ok")


def matrix(found):
    """{kind: {test: Seen}} as lines."""
    names = sorted({name for seen in found.values() for name in seen})
    lines = [f"{'':60}" + "".join(f"{kind:>8}" for kind in found)]
    for name in names:
        marks = (found[k][name].mark() if name in found[k] else "" for k in found)
        lines.append(f"{name:60}" + "".join(f"{m:>8}" for m in marks))
    return lines


def run(suite, run_programs):
    """All cases of the suite; the matrix is printed and kept."""
    cases, found = [], {}
    for kind, expected in expectations(list_of(suite)).items():
        found[kind], wrong = observe(suite, kind, expected, run_programs)
        cases += judge(kind, expected, found[kind]) + wrong
    lines = matrix(found)
    write_atomically(LOGS / f"{suite['name']}.txt", "\n".join(lines) + "\n")
    say("\n".join(lines))
    return cases


def as_toml(kind, programs, rounds, before):
    """What the file would have to say of a kind after some rounds of {test: Seen}."""
    marks, either = {}, dict(before.get("either", {}))
    for seen in rounds:
        for name, s in seen.items():
            if not matching(name, either):
                marks.setdefault(name, set()).add(s.mark())
    sees = sorted(n for n, m in marks.items() if m == {"sees"})
    lines = [f"[{kind}]", f"programs = {json.dumps(programs)}"]
    lines += [f"{key} = {json.dumps(before[key])}" for key in ("nth", "append") if key in before]
    lines += ["sees = ["]
    lines += [f"    {json.dumps(n)}," for n in sees] + ["]"]
    blind, nothing = before.get("blind", {}), before.get("nothing", {})
    silent = {n for n, m in marks.items() if m <= {"-", "skips"}}
    silent &= {f"{p}: {n}" for p in programs for n in changing(p)}
    # What was found to be unsteady before is not steady because of a few rounds.
    either.update((n, dict(why=TODO, fails=TODO)) for n, m in marks.items()
                  if len(m) > 1 and n not in silent)
    later = before.get("later", {})
    for word, those in (
            ("blind", {n: json.dumps(blind.get(matching(n, blind), TODO))
                       for n, m in marks.items() if m == {"blind"}}),
            ("either", {n: f"{{ why = {json.dumps(e['why'])}, fails = {json.dumps(e['fails'])} }}"
                        for n, e in either.items()}),
            ("later", {n: f"{{ why = {json.dumps(e['why'])}, fails = {json.dumps(e['fails'])} }}"
                       for n, e in later.items()}),
            ("nothing", {matching(n, nothing) or n: json.dumps(nothing.get(matching(n, nothing), TODO))
                         for n in silent})):
        if those:
            lines += ["", f"[{kind}.{word}]"]
            lines += [f"{json.dumps(n)} = {those[n]}" for n in sorted(those)]
    return "\n".join(lines)


def cli():
    import test                         # which imports this

    parser = argparse.ArgumentParser(description="print tests/notice.toml as observed")
    parser.add_argument("rounds", nargs="?", type=int, default=1)
    parser.add_argument("--suite", default="notice")
    parser.add_argument("--kind", help="this one alone")
    parser.add_argument("--programs", help="others than those of the file, comma-separated")
    a = parser.parse_args()
    suite = next(s for s in test.all_suites() if s["name"] == a.suite)
    with lock(BUILD / ".test.lock", "make test"):
        test.prepare([suite])
        print(re.match(r"(?:#.*\n)*", read(file_of(list_of(suite))))[0].rstrip())
        for kind, before in expectations(list_of(suite)).items():
            if a.kind not in (None, kind):
                continue
            programs = a.programs.split(",") if a.programs else before["programs"]
            rounds = [observe(suite, kind, dict(before, programs=programs), test.run_programs)[0]
                      for _ in range(a.rounds)]
            print(f"\n{as_toml(kind, programs, rounds, before)}", flush=True)
            LOGS.mkdir(parents=True, exist_ok=True)
            write_atomically(LOGS / f"{a.suite}-{kind}.txt",
                             "\n".join(matrix({str(n): r for n, r in enumerate(rounds)})) + "\n")


if __name__ == "__main__":
    main(cli)
