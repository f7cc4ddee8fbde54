# SPDX-License-Identifier: GPL-2.0-only
"""make test: every suite of tests/suites.toml, its figures, and one closing line."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field

import kernel
import packages
import qemu
import selftests
import vm
from common import LOGS, ROOT, Failed, bold, main, say, shown, write_atomically
from patchqueue import LINUX, QEMU


@dataclass
class Case:
    name: str
    state: str                          # "ok", "not ok", "skip"
    why: str = ""


@dataclass
class Verdict:
    cases: list = field(default_factory=list)
    note: str = ""

    def count(self, state):
        return sum(c.state == state for c in self.cases)


def fail(name, why):
    return Case(name, "not ok", why)


def ktap(text, prefix=""):
    """The cases of KTAP output at its top level; a diagnostic before a failure is its why."""
    cases, notes = [], []
    for line in text.splitlines():
        match = re.match(r"(ok|not ok) \d+ ?-? ?([^#]*)(?:# ?(\w+)\b:? *(.*))?", line)
        if not match:
            if re.match(r"# .*(Expected|Assert|:\d+:|error|stale|expected)", line):
                notes.append(line[2:].strip())
            continue
        state, name, directive, why = match.groups()
        if (directive or "").upper() == "SKIP":
            cases.append(Case(prefix + name.strip(), "skip", why))
        else:
            cases.append(Case(prefix + name.strip(), state,
                              "" if state == "ok" else "; ".join(notes[-3:])))
        notes = []
    return cases


def planned(text):
    """The number of tests that the programs announced, to see that all reported."""
    return sum(int(n) for n in re.findall(r"(?m)^1\.\.(\d+)", text))


# --- the kinds of suite ---

def run_host(suite):
    sys.path[:0] = [str(ROOT / "tests/host"), str(ROOT / "tools")]
    import unittest

    class Collect(unittest.TestResult):
        cases = []

        def addSuccess(self, test):
            self.cases.append(Case(test.id(), "ok"))

        def addFailure(self, test, err):
            self.cases.append(fail(test.id(), str(err[1]).strip()))
        addError = addFailure

        def addSkip(self, test, reason):
            self.cases.append(Case(test.id(), "skip", reason))
    result = Collect()
    unittest.defaultTestLoader.discover(str(ROOT / "tests/host"), "test_*.py").run(result)
    return Verdict(result.cases)


def run_qtest(suite):
    home = qemu.build()
    cases = []
    for program in suite["programs"]:
        env = dict(os.environ, QTEST_QEMU_BINARY=str(home / "qemu-system-x86_64"),
                   G_TEST_SLOW="0")
        r = subprocess.run([home / program, "--tap"], env=env, text=True, cwd="/tmp",
                           stdin=subprocess.DEVNULL, errors="replace",
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=suite.get("timeout", 180))
        (LOGS / f"{suite['name']}.{program}.log").write_text(r.stdout)
        cases += ktap(r.stdout)
        if r.returncode:
            cases.append(fail(program, f"exit status {r.returncode}: "
                              + r.stdout.strip().splitlines()[-1]))
    return Verdict(cases)


def machine(suite):
    return vm.Machine(suite.get("units", 2), suite.get("devices", 2), suite.get("cpus", 2),
                      suite.get("memory", 1024), suite.get("svadev", ""), suite.get("append", ""))


def image_of(suite):
    """The suite's kernel; that of `make mutants` is none of the cache."""
    return suite.get("image") or kernel.build(suite.get("kernel", "demo"))


def guest(suite, command, add, name, timeout=None):
    return vm.run_guest(image_of(suite), machine(suite), command, add, name,
                        timeout or suite.get("timeout", 300))


def undisturbed(console):
    """KTAP whose headers are in one piece. kunit.py does not see a subtest, and all that is in
    it has no name, if another CPU's message is between the two lines that begin it."""
    return re.sub(r"(?m)^(.*\bKTAP version 1\n)(?:(?!.*(?:# Subtest:|\b1\.\.\d|\bKTAP )).*\n)+"
                  r"(?=.*# Subtest: )", r"\1", console)


def run_kunit(suite):
    image = image_of(suite)
    if suite["kernel"] == "arm64":
        result = vm.run_kunit_arm64(image, suite["name"], suite["timeout"], suite.get("append", ""))
    else:
        m = machine(dict(suite, devices=0, units=1))
        m.append += " kunit.enable=1 kunit.stats_enabled=1 loglevel=8"
        result = vm.run_guest(image, m, "exit 0", (), suite["name"], suite["timeout"], quiet=False)
        if "kunit_shutdown=" in m.append and "reboot: Power down" in result.console:
            result.status = 0           # make mutants: off as soon as KUnit is over
    report, log = LOGS / f"{suite['name']}.json", LOGS / f"{suite['name']}.ktap.log"
    report.unlink(missing_ok=True)
    write_atomically(log, undisturbed(result.console))
    subprocess.run([sys.executable, "-B", LINUX.tree / "tools/testing/kunit/kunit.py", "parse",
                    f"--json={report}", log], stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT)
    cases = []
    skips = dict(re.findall(r"ok \d+ (\S+) # SKIP (.*)", result.console))

    def walk(group, path):
        for case in group.get("test_cases", []):
            state = {"PASS": "ok", "SKIP": "skip"}.get(case["status"], "not ok")
            why = skips.get(case["name"], "") if state == "skip" else f"see {shown(result.log)}"
            cases.append(Case("/".join([*path, case["name"]]), state, why.strip()))
        for sub in group.get("sub_groups", []):
            walk(sub, [*path, sub["name"]])
    if report.exists():
        walk(json.loads(report.read_text()), [])
    wanted = suite.get("must_log")
    if wanted and wanted not in result.console:
        cases.append(fail("kernel log", f"lacks '{wanted}'  ({shown(result.log)})"))
    # KUnit's own failures are reported as cases; a WARNING that a test provokes
    # on purpose is announced by the kernel's selftests and does not count here.
    return with_trouble(Verdict(cases), result)


def with_trouble(verdict, result):
    """A hang, panic, WARN or lockdep report is a failure of its own."""
    for line in result.trouble[:5]:
        verdict.cases.append(fail("kernel log", f"{line}  ({shown(result.log)})"))
    if result.status is None and not result.trouble:
        verdict.cases.append(fail("guest", f"ended early ({shown(result.log)})"))
    return verdict


def run_programs(suite, programs, name, environment="", arguments=""):
    """Selftests one after the other in one guest; each one's cases under its name."""
    script = "cd /root\n" + "".join(
        f'echo "## {p.name}"; {environment} ./{p.name} {arguments} 2>&1; echo "## exit $?"\n'
        for p in programs)
    result = guest(suite, script, programs, name)
    cases = []
    for part in re.split(r"(?m)^## (?!exit)", result.text)[1:]:
        program, _, text = part.partition("\n")
        program = program.strip()
        own = ktap(text, f"{program}: ")
        status = re.search(r"(?m)^## exit (\d+)", text)
        if not own:
            own = [Case(program, "skip", text.strip()[:100])] if status and status[1] == "4" \
                else [fail(program, "no test ran")]
        elif not status:
            own.append(fail(program, "did not end"))
        elif len(own) < planned(text):
            own.append(fail(program, f"{planned(text)} tests announced, {len(own)} reported"))
        elif status[1] not in ("0", "4") and all(c.state != "not ok" for c in own):
            own.append(fail(program, f"exit status {status[1]}"))
        cases += own
    excuse(cases, suite.get("fails_on_base", {}))
    ran = {c.name.split(":")[0] for c in cases}
    cases += [fail(p.name, "did not run") for p in programs if p.name not in ran]
    for p in suite.get("must_pass", []):
        if not any(c.state == "ok" and c.name.startswith(f"{p}: ") for c in cases):
            cases.append(fail(p, "no test of it passed"))
    return with_trouble(Verdict(cases), result)


def excuse(cases, known):
    """What fails on the base is no failure of ours, as long as it does fail."""
    for case in cases:
        if case.name in known:
            if case.state == "ok":
                case.state, case.why = "not ok", "listed in fails_on_base, but passes"
            elif case.state == "not ok":
                case.state, case.why = "skip", f"fails on the base too: {known[case.name]}"


def run_guest_suite(suite):
    programs = selftests.build(suite["programs"])
    return run_programs(suite, programs, suite["name"])


def run_notice(suite):
    """With one invalidation lost, a program that can see it must fail; the ones
    that see each kind are named in the tests themselves (DROPS)."""
    cases = []
    for kind in selftests.DROPS:
        programs = selftests.build_names(selftests.DROPS[kind])
        v = run_programs(suite, programs, f"{suite['name']}-{kind}", f"SVADEV_DROP={kind}:1")
        for p in programs:
            own = [c for c in v.cases if c.name.startswith(f"{p.name}: ")]
            noticed = [c for c in own if c.state == "not ok"]
            name = f"{p.name} notices a lost {kind} invalidation"
            cases.append(Case(name, "ok") if noticed else
                         fail(name, f"all {len(own)} tests passed"))
        cases += [c for c in v.cases if c.name in ("kernel log", "guest")]
    return Verdict(cases)


def run_stock(suite):
    demo = selftests.demo()
    result = vm.run_guest(kernel.build("stock"), vm.Machine(2, 2), f"/root/{demo.name}", [demo],
                          suite["name"], 120)
    refused = "dev0.open=EOPNOTSUPP" in result.text
    cases = [Case("the base answers EOPNOTSUPP", "ok" if refused else "not ok",
                  "" if refused else result.text.strip()[-200:])]
    return with_trouble(Verdict(cases), result)


KINDS = {"host": run_host, "qtest": run_qtest, "kunit": run_kunit, "guest": run_guest_suite,
         "notice": run_notice, "stock": run_stock}


def run_suite(suite):
    start = time.monotonic()
    try:
        verdict = KINDS[suite["kind"]](suite)
    except subprocess.TimeoutExpired as e:
        verdict = Verdict([fail(suite["name"], f"timed out after {e.timeout:.0f} s")])
    if not verdict.cases:
        verdict.cases.append(fail(suite["name"], "no test ran"))
    p, f, s = (verdict.count(x) for x in ("ok", "not ok", "skip"))
    took = time.monotonic() - start
    mark = "FAILED" if f else "ok"
    say(f"{bold(suite['name']):14} {mark:7} {p} passed, {f} failed, {s} skipped"
        f"  ({took:.0f} s)  {suite['about']}")
    for case in verdict.cases:
        if case.state == "not ok":
            say(f"    not ok  {case.name}" + (f"\n            {case.why}" if case.why else ""))
    for why, count in Counter(c.why for c in verdict.cases if c.state == "skip").items():
        say(f"    skipped {count}: {why or 'no reason given'}")
    return p, f, s


def prepare(suites):
    """Everything that takes long, before the first figure."""
    LINUX.assemble()
    QEMU.assemble()
    packages.ensure(packages.BUILD_TOOLS, packages.GUEST_TOOLS)
    qemu.build()
    kinds = {s["kind"] for s in suites}
    flavours = {s["kernel"] for s in suites if "kernel" in s}
    if "arm64" in flavours:
        packages.ensure(packages.ARM_GUEST_TOOLS)
    for flavour in sorted(flavours | ({"stock"} if "stock" in kinds else set())):
        kernel.build(flavour)


def all_suites():
    return tomllib.loads((ROOT / "tests/suites.toml").read_text())["suite"]


def cli():
    parser = argparse.ArgumentParser(prog="make test")
    parser.add_argument("--suite", default="", help="names, comma-separated")
    parser.add_argument("--list", action="store_true")
    a = parser.parse_args()
    suites = all_suites()
    if a.list:
        for s in suites:
            say(f"{s['name']:14} {s['about']}")
        return 0
    wanted = [n for n in re.split(r"[ ,]+", a.suite) if n]
    unknown = set(wanted) - {s["name"] for s in suites}
    if unknown:
        raise Failed(f"no suite '{', '.join(sorted(unknown))}'; 'make test-list' names them")
    suites = [s for s in suites if not wanted or s["name"] in wanted]
    LOGS.mkdir(parents=True, exist_ok=True)
    prepare(suites)
    total = Counter()
    for suite in suites:
        p, f, s = run_suite(suite)
        total.update(passed=p, failed=f, skipped=s)
    say(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    main(cli)
