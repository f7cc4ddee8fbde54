# SPDX-License-Identifier: GPL-2.0-only
"""make test, make test-all: the suites of tests/suites.toml, their figures, one closing line."""

import argparse
import contextlib
import fnmatch
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import demo
import distribution
import kernel
import notice
import packages
import qemu
import selftests
import vm
from common import (BUILD, CACHE, CC, JOBS, LOGS, ROOT, Failed, bold, compiler_env, digest, lock,
                    main, outlook, prune, read, run, say, shown, write_atomically)
from ktap import Case, fail, junit, parse
from patchqueue import LINUX

SUITES = ROOT / "tests/suites.toml"
SKIPS = ROOT / "tests/skips.toml"
KEPT = CACHE / "results"
REPORT = BUILD / "results.xml"
# What every result is made from, whatever its suite runs.
CODE = [Path(__file__), *(ROOT / "tools" / n for n in ("kernel.py", "ktap.py", "vm.py", "notice.py",
                                                  "selftests.py")),
        vm.INIT]


@dataclass
class Verdict:
    cases: list = field(default_factory=list)
    text: str = ""                      # what programs printed


def planned(text):
    """The number of tests that the programs announced, to see that all reported."""
    return sum(int(n) for n in re.findall(r"(?m)^1\.\.(\d+)", text))


# --- the kinds of suite ---

def run_host(suite):
    sys.path[:0] = [str(ROOT / "tests/host"), str(ROOT / "tools")]
    import unittest

    cases = []

    class Collect(unittest.TestResult):
        def addSuccess(self, test):
            cases.append(Case(test.id(), "ok"))

        def addFailure(self, test, err):
            cases.append(fail(test.id(), str(err[1]).strip()))
        addError = addFailure

        def addSkip(self, test, reason):
            cases.append(Case(test.id(), "skip", reason))

        def addSubTest(self, test, subtest, err):
            if err:
                self.addFailure(subtest, err)

        def addExpectedFailure(self, test, err):
            self.addSuccess(test)

        def addUnexpectedSuccess(self, test):
            cases.append(fail(test.id(), "passes, but is marked as expected to fail"))
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{suite['test']}*"] if suite.get("test") else None
    loader.discover(str(ROOT / "tests/host"), "test_*.py").run(Collect())
    return Verdict(cases)


def run_qtest(suite):
    options = suite.get("qemu", {})
    home = qemu.build(**options)
    binary = home / f"qemu-system-{options.get('target', 'x86_64')}"
    cases = []
    for program in suite["programs"]:
        env = dict(os.environ, QTEST_QEMU_BINARY=str(binary),
                   G_TEST_SLOW="0", **(qemu.ASAN_ENV if options.get("asan") else {}))
        command = [home / program, "--tap"] + (["-p", suite["test"]] if suite.get("test") else [])
        with tempfile.TemporaryDirectory() as tmp:
            r = subprocess.run(command, env=env, text=True, cwd=tmp, stdin=subprocess.DEVNULL,
                               errors="replace", stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=suite.get("timeout", 180))
        (LOGS / f"{suite['name']}.{program}.log").write_text(r.stdout)
        cases += parse(r.stdout)
        if r.returncode:
            cases.append(fail(program, f"exit status {r.returncode}: "
                              + (r.stdout.strip().splitlines() or ["no output"])[-1]))
    return Verdict(cases)


def machine(suite):
    return vm.Machine(suite.get("units", 2), suite.get("devices", 2), suite.get("cpus", 2),
                      suite.get("memory", 1024), suite.get("svadev", ""), parameters(suite),
                      suite.get("unit", ""), suite.get("last_unit", ""), cpu=suite.get("cpu", ""),
                      arch=arch_of(suite))


def arch_of(suite):
    """The architecture of a suite is that of its kernel."""
    return kernel.FLAVOURS[suite["kernel"]].arch if "kernel" in suite else kernel.X86


def parameters(suite):
    """The kernel's: of the flavour and of the suite."""
    return f"{kernel.FLAVOURS[suite['kernel']].append} {suite.get('append', '')}"


def image_of(suite):
    """The suite's kernel; that of `make mutants` is none of the cache."""
    return suite.get("image") or kernel.build(suite["kernel"])


def guest(suite, command, add, name):
    return vm.run_guest(image_of(suite), machine(suite), command, add, name,
                        suite["timeout"], watch=suite.get("watch"), expects=expected_messages())


@functools.cache
def expected_messages():
    """{a pattern of programs and KUnit suites: [kind of message that they cause]}"""
    return configuration()["expects"]


def run_kunit(suite):
    if suite.get("test"):
        suite = dict(suite, append=f"{suite.get('append', '')} kunit.filter_glob={suite['test']}")
    image = image_of(suite)
    m = machine(dict(suite, devices=0, units=1))
    m.append += " kunit.enable=1 kunit.stats_enabled=1 loglevel=8"
    result = vm.run_guest(image, m, "exit 0", (), suite["name"], suite["timeout"], quiet=False,
                          watch=suite.get("watch"), expects=expected_messages())
    if "kunit_shutdown=" in m.append and "reboot: Power down" in result.console:
        result.status = 0               # make mutants: off as soon as KUnit is over
    verdict = Verdict(parse(result.console))
    wanted = suite.get("must_log")
    if wanted and wanted not in result.console:
        verdict.cases.append(fail("kernel log", f"lacks '{wanted}'  ({shown(result.log)})"))
    return with_trouble(verdict, result)


def with_trouble(verdict, result):
    """A hang, panic, WARN or lockdep report is a failure of its own."""
    for line in result.trouble[:5]:
        verdict.cases.append(fail("kernel log", f"{line}  ({shown(result.log)})"))
    if result.status is None and not result.trouble:
        verdict.cases.append(fail("guest", f"ended early ({shown(result.log)})"))
    return verdict


def run_programs(suite, programs, name, environment="", arguments=""):
    """Selftests one after the other in one guest; each one's cases under its name."""
    wanted = suite.get("must_log")
    script = f"cd /root\n{must_log(wanted)}" + "".join(
        f'echo "## {p.name}"; echo "<3>## {p.name}" >/dev/kmsg; {environment} ./{p.name} {arguments} 2>&1; echo "## exit $?"\n'
        for p in programs)
    result = guest(suite, script, programs, name)
    cases = []
    for part in re.split(r"(?m)^## (?!exit)", result.text)[1:]:
        program, _, text = part.partition("\n")
        program = program.strip()
        text, _, status = text.partition("## exit ")
        cases += results_of(program, text, int(status) if status.strip().isdigit() else None)
    known = suite.get("fails_on_base", {})
    failed = {name: those for name, (_, those) in notice.lost(result.text).items()}
    excuse(cases, known, failed)
    if not arguments:
        cases += nowhere(cases, known, [p.name for p in programs])
    ran = {c.name.split(":")[0] for c in cases}
    cases += [fail(p.name, "did not run") for p in programs if p.name not in ran]
    if wanted and result.status is not None and LOGGED not in result.text.splitlines():
        cases.append(fail("kernel log", f"lacks '{wanted}'"))
    if suite.get("ignores"):
        cases += ignored(suite["ignores"], result)
    return with_trouble(Verdict(cases, result.text), result)


def ignored(pattern, result):
    """Take the trouble that the base has, too, out of a result, which has to have it."""
    known = [line for line in result.trouble if re.search(pattern, line)]
    result.trouble = [line for line in result.trouble if line not in known]
    return [] if known or result.trouble else [
        fail("kernel log", f"has no '{pattern}', which the suite ignores: take it off the list")]


LOGGED = "logged as it must be"


def must_log(wanted):
    """The command that says so: the console of a guest that runs programs has no such lines."""
    return f"dmesg | grep -qF '{wanted}' && echo '{LOGGED}'\n" if wanted else ""


def results_of(program, text, status):
    """The cases of one program's output and exit status (None: it did not end)."""
    if status == 4 and not re.search(r"(?m)^(not )?ok ", text):
        return [Case(program, "skip", text.strip()[:100])]
    own = [Case(f"{program}: {c.name}", c.state, c.why) for c in parse(text, ".")]
    if status is None:
        own.append(fail(program, "did not end"))
    elif len(own) < planned(text):
        own.append(fail(program, f"{planned(text)} tests announced, {len(own)} reported"))
    elif status not in (0, 1, 4) or status == 1 and all(c.state != "not ok" for c in own):
        own.append(fail(program, f"exit status {status}"))
    return own or [fail(program, "no test ran")]


def excuse(cases, known, failed):
    """What fails on the base is no failure of ours, as long as it fails in the way that is listed:
    {test: [expectation that did not hold]}."""
    for case in cases:
        if case.name not in known or case.state == "skip":
            continue
        listed, those = known[case.name], failed.get(case.name, [])
        other = [f for f in those if not re.search(listed["fails"], f)]
        if case.state == "ok":
            case.state, case.why = "not ok", "listed in fails_on_base, but passes"
        elif those and not other:
            case.state, case.why = "skip", ON_BASE + listed["why"]
        else:
            case.why = ("listed in fails_on_base, but not for this: "
                        f"{'; '.join(other) or case.why}")


def nowhere(cases, known, programs):
    """What is listed, of these programs, and is no test of theirs."""
    names = {c.name for c in cases}
    return [fail(name, "in fails_on_base, but there is no such test") for name in known
            if name.split(":")[0] in programs and name not in names]


def chosen(programs, test):
    """The programs that have the test of TEST=program.test, and their arguments."""
    program, *path = test.split(".")
    programs = [p for p in programs if fnmatch.fnmatch(p.name, program)]
    if not programs:
        raise Failed(f"no program '{program}' in this suite; TEST is program.test, or "
                     "program.fixture.variant.test")
    if len(path) > 1:
        return programs, f"-r {'.'.join(path)}"
    return programs, f"-t {path[0]}" if path else ""


def run_guest_suite(suite):
    programs, arguments = selftests.build(suite["programs"], arch_of(suite)), ""
    if suite.get("test"):
        programs, arguments = chosen(programs, suite["test"])
    return run_programs(suite, programs, suite["name"], suite.get("environment", ""), arguments)


def run_notice(suite):
    """With one invalidation lost, the tests fail that can see it: tools/notice.py."""
    return Verdict(notice.run(suite, run_programs))


def run_demo(suite):
    """What `make demo` says is true, on the kernel of a suite; its story goes into a log."""
    log = LOGS / f"{suite['name']}.txt"
    LOGS.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as story, contextlib.redirect_stdout(story):
        held = demo.tell(suite["kernel"])
    return Verdict([Case(what, "ok") if holds else fail(what, f"does not hold: {shown(log)}")
                    for what, holds in held.items()])


def run_stock(suite):
    """The distribution's own kernel is asked to bind by a module that is built for it."""
    image, module = distribution.kernel(), distribution.module()
    result = vm.run_guest(image, vm.Machine(2, 2, append="intel_iommu=on,sm_on"),
                          f"insmod {module.name}; dmesg | grep sva_ask:", [module],
                          suite["name"], suite["timeout"])
    asked = re.findall(r"sva_ask: (\S+): (\w+)", result.text)
    cases = [Case(f"{device} answers EOPNOTSUPP", "ok") if answer == "EOPNOTSUPP" else
             fail(f"{device} answers EOPNOTSUPP", f"it answers {answer}")
             for device, answer in asked]
    if len(asked) < 2:
        cases.append(fail("two functions were asked", result.text.strip()[-200:]))
    return with_trouble(Verdict(cases), result)


def run_kunit_py(suite):
    """The kernel's own front end, as README says: it configures, builds and boots by itself."""
    if suite.get("arm64"):
        packages.ensure(packages.ARM_TOOLS, packages.KUNIT_ARM_TOOLS)
    log = LOGS / f"{suite['name']}.log"
    status = run(f"kunit.py {suite['config']}",
                 [sys.executable, "tools/testing/kunit/kunit.py", "run", "--raw_output=all",
                  f"--kunitconfig={suite['config']}", f"--build_dir={BUILD / suite['name']}",
                  f"--jobs={JOBS}", f"--make_options=CC={CC} " + suite.get("gcc", "gcc"),
                  *suite.get("options", [])],
                 log, cwd=LINUX.tree, env=compiler_env(), status=True, quiet=True)
    text = read(log)
    cases = parse(text)
    trouble = [l for l in vm.troubles(text, None, expected_messages())
               if not re.search(suite.get("ignores", "^$"), l)]
    cases += [fail("kernel log", f"{line}  ({shown(log)})") for line in trouble[:5]]
    if status and all(c.state != "not ok" for c in cases):
        cases.append(fail("kunit.py", f"exit status {status}: {shown(log)}"))
    return Verdict(cases)


def told(command, log="/dev/kmsg"):
    """A command of the shell that runs this, and tells the kernel's log which program begins, as
    run_programs() does. The kernel's runner evaluates iommu/settings before each program begins."""
    return (f"""echo 'mark=$(echo "<3>## $BASENAME_TEST" >>{log})' >>iommu/settings\n"""
            f"{command}\n")


def run_kselftest(suite):
    """The kernel's own run_kselftest.sh in a guest; one case for each program."""
    home = selftests.install()
    result = guest(suite, f"cd /root/{home.name}\n"
                   + told(f"./run_kselftest.sh {suite['arguments']}"), [home], suite["name"])
    cases = parse(result.text)
    if result.status and all(c.state != "not ok" for c in cases):
        cases.append(fail("run_kselftest.sh", f"exit status {result.status}"))
    return with_trouble(Verdict(cases), result)


def run_mutants(suite):
    """A small sample of `make mutants`: no more may survive than the suite says."""
    import sample                       # which imports this

    with lock(BUILD / ".mutants.lock", "make mutants"):
        mutants = sample.Sample(suite["sample"], suite["seed"], name=suite["name"])
        mutants.run()
    return Verdict(judge_mutants(suite, mutants.names))


def judge_mutants(suite, names):
    """The cases of the suite; names(state) are the mutants that ended so."""
    seen, alive = names("caught") + names("equivalent"), names("survived") + names("undecided")
    cases = [Case(name, "ok") for name in seen]
    cases += [fail(name, "cannot be tried") for name in names("failed")]
    if not names("caught") or len(seen + alive) < suite["sample"]:
        cases.append(fail(f"{suite['sample']} mutants are tried", f"only {len(seen + alive)}"))
    title = f"no more than {suite['survivors']} survive"
    return cases + [fail(title, ", ".join(alive)) if len(alive) > suite["survivors"]
                    else Case(title, "ok")]


KINDS = {"host": run_host, "qtest": run_qtest, "kunit": run_kunit, "guest": run_guest_suite,
         "notice": run_notice, "demo": run_demo, "stock": run_stock, "kunit.py": run_kunit_py,
         "kselftest": run_kselftest, "mutants": run_mutants}
CHOOSES = ("host", "qtest", "kunit", "guest")       # with TEST=


# --- judging ---

# What is no test and so cannot be expected to skip; and what fails_on_base excuses.
NO_TEST = ("kernel log", "guest", "output")
ON_BASE = "fails on the base too: "


def judge_skips(cases, listed, whole=True):
    """A skip that tests/skips.toml does not list is a failure, and so is a listed test that
    runs, or that is not there any more (`whole`: all of the suite ran)."""
    used = set()
    for case in cases:
        if case.name in NO_TEST or case.why.startswith(ON_BASE):
            continue
        hits = [p for p in listed if p == case.name or fnmatch.fnmatchcase(case.name, p)]
        used.update(hits)
        if case.state == "skip" and not hits:
            case.state, case.why = "not ok", ("skipped, which tests/skips.toml does not expect: "
                                              f"{case.why or 'no reason given'}")
        elif case.state == "ok" and hits:
            case.state, case.why = "not ok", "runs, but tests/skips.toml expects it to skip"
        elif case.state == "skip":
            case.why = listed[hits[0]]
    return cases + [fail(p, "in tests/skips.toml, but there is no such test")
                    for p in listed if whole and p not in used]


def result_of(suite):
    """Run a suite; its cases and how long it took."""
    start = time.monotonic()
    try:
        verdict = KINDS[suite["kind"]](suite)
    except subprocess.TimeoutExpired as e:
        verdict = Verdict([fail(suite["name"], f"timed out after {e.timeout:.0f} s")])
    except Failed as e:
        verdict = Verdict([fail(suite["name"], str(e))])
    cases = judge_skips(verdict.cases, suite["skips"], whole="test" not in suite)
    if not any(c.state != "skip" or c.why.startswith(ON_BASE) for c in cases):
        cases.append(fail(suite["name"], "no test ran"))
    return time.monotonic() - start, cases


def figures(count):
    """Of {state: cases}; "known" are those that fail as they do on the base."""
    known = f", {count['known']} as on the base" if count["known"] else ""
    return f"{count['ok']} passed, {count['not ok']} failed, {count['skip']} skipped{known}"


def report(suite, took, cases, kept=False):
    count = Counter("known" if c.why.startswith(ON_BASE) and c.state == "skip" else c.state
                    for c in cases)
    above = took > suite["budget"] and not kept
    time_said = "kept from an earlier run" if kept else \
        f"{took:.0f} s of {suite['budget']}{': ABOVE ITS BUDGET' if above else ''}"
    say(f"{bold(suite['name']):14} {'FAILED' if count['not ok'] else 'ok':7} "
        f"{figures(count)}"
        f"  ({time_said})  {suite['about']}")
    for case in cases:
        if case.state == "not ok":
            say(f"    not ok  {case.name}" + (f"\n            {case.why}" if case.why else ""))
    for why, n in Counter(c.why for c in cases if c.state == "skip").items():
        say(f"    skipped {n}: {why or 'no reason given'}")
    return count


# --- what is run ---

def configuration():
    return tomllib.loads(read(SUITES))


# Of the caller's environment, what the selftest programs heed in place of what a suite says
HEEDED = ("SVA_SEED", "SVA_OPS", "SVA_RESETS")


def with_environment(suite):
    words = [f"{n}={shlex.quote(os.environ[n])}" for n in HEEDED if n in os.environ]
    if words and suite["kind"] == "guest":
        suite["environment"] = " ".join([suite.get("environment", ""), *words]).strip()


def all_suites():
    """Every suite of tests/suites.toml, with the skips that are expected of it."""
    listed = tomllib.loads(read(SKIPS))
    suites = configuration()["suite"]
    for suite in suites:
        with_environment(suite)
        suite["skips"] = {}
        for name in [*suite.get("skips_of", []), suite["name"]]:
            suite["skips"].update(listed.get(name, {}))
    return suites


def kept_as(suite):
    """Where the result of a suite is kept, named by all that it is made from."""
    kind = suite["kind"]
    if kind == "host" or "test" in suite:
        return None
    parts = [json.dumps([suite, expected_messages()], sort_keys=True), vm.ACCEL, *CODE]
    if kind != "kunit.py":
        parts.append(qemu.key(**qemu_of(suite)))
    if "kernel" in suite:
        parts += [kernel.build(suite["kernel"]).name, parameters(suite)]
    if kind in ("guest", "notice", "kselftest"):
        parts += selftests.all_programs(arch_of(suite))
    if kind == "demo":
        parts += [Path(demo.__file__), selftests.demo(arch_of(suite))]
    if kind == "notice":
        parts.append(notice.file_of(notice.list_of(suite)))
    if kind == "mutants":
        parts += [ROOT / "tools" / n for n in ("kernel.py", "mutate.py", "sample.py", "trial.py")]
        parts += [ROOT / "tests" / n for n in ("sample.toml", "equivalent.toml")]
        parts.append(json.dumps(suites_of_mutants(), sort_keys=True))
    if kind == "kunit.py":
        parts.append(kernel.source("series")[1])
    if kind == "stock":
        parts += [distribution.version(), Path(distribution.__file__), *distribution.SOURCES]
    return KEPT / f"{suite['name']}-{digest(*parts)}.json"


def suites_of_mutants():
    """The suites in which mutants that operators make are tried."""
    files = tomllib.loads(read(ROOT / "tests/sample.toml"))["files"]
    names = {word.split()[0] for entry in files for word in entry["kunit"] + entry["guests"]}
    return [s for s in all_suites() if s["name"] in names]


def remembered(path):
    """The result that is kept there, if one is."""
    if not path or not path.exists():
        return None
    os.utime(path)
    took, cases = json.loads(read(path))
    return took, [Case(**c) for c in cases]


def qemu_of(suite):
    """The options of the QEMU that a suite runs in."""
    return {"target": arch_of(suite).target, **suite.get("qemu", {})}


def flavours_of(suites):
    return sorted({s["kernel"] for s in suites if "kernel" in s})


def prepare(suites):
    """Everything that takes long, before the first figure."""
    kinds = {s["kind"] for s in suites}
    if kinds == {"host"}:
        return packages.ensure(packages.BUILD_TOOLS)
    packages.ensure(packages.BUILD_TOOLS, packages.GUEST_TOOLS, packages.QEMU_TOOLS)
    for suite in suites:
        if suite["kind"] not in ("host", "kunit.py"):
            qemu.build(**qemu_of(suite))        # nothing if it is there
    for flavour in flavours_of(suites):
        kernel.build(flavour)


def plan(suites):
    """What is to come, for 'about N min left'."""
    if all(s["kind"] == "host" for s in suites):
        return []
    targets = {qemu_of(s)["target"] for s in suites}
    return ["packages", "linux-source-6.12", "qemu"] \
        + [f"build QEMU for {t}" for t in qemu.TARGETS if t in targets] \
        + [f"build the {f} kernel" for f in flavours_of(suites)]


def of_architecture(suites, name):
    """The suites whose kernel is one of this architecture; all if none is named."""
    arch = kernel.arch(name)
    return [s for s in suites if "kernel" in s and arch_of(s) is arch] if name else suites


def select(suites, tier, names, test):
    """The suites that are asked for; those of `make test` if none is named."""
    unknown = set(names) - {s["name"] for s in suites}
    if unknown:
        raise Failed(f"no suite '{', '.join(sorted(unknown))}'; 'make test-list' names them")
    if names:
        suites = [s for s in suites if s["name"] in names]
    elif tier == "test":
        suites = [s for s in suites if s.get("tier", "test") == "test"]
    if test and not names:
        raise Failed("TEST wants a SUITE to run it in: make test SUITE=sva TEST=sva_map.munmap")
    for s in suites:
        if test and s["kind"] not in CHOOSES:
            raise Failed(f"a test of the suite '{s['name']}' cannot be chosen; it runs as a whole")
    return [dict(s, test=test) for s in suites] if test else suites


def list_suites(suites):
    for tier, title in (("test", "make test"), ("all", "make test-all, besides those")):
        say(bold(title))
        for s in (s for s in suites if s.get("tier", "test") == tier):
            say(f"  {s['name']:16} {s['about']}")
    say("\nSUITE=a,b chooses suites of both, TEST= a test in them: SUITE=sva TEST=sva_map.munmap,\n"
        "SUITE=kunit TEST=iommu_attach.walk*. Results are in build/results.xml (JUnit), too.")
    return 0


def cli():
    parser = argparse.ArgumentParser(prog="make test")
    parser.add_argument("--suite", default="", help="names, comma-separated")
    parser.add_argument("--test", default="", help="program.test, or KUnit suite.case")
    parser.add_argument("--all", action="store_true", help="the suites of make test-all, too; "
                        "those that passed and whose parts did not change are not run again")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--arch", default="", help="those with a kernel of it: "
                        + " or ".join(kernel.ARCHS))
    a = parser.parse_args()
    suites = all_suites()
    if a.list:
        return list_suites(suites)
    names = [n for n in re.split(r"[ ,]+", a.suite) if n]
    suites = select(suites, "all" if a.all else "test", names, a.test)
    suites = of_architecture(suites, a.arch)
    if not suites:
        raise Failed(f"of {a.suite}, none has a kernel of {a.arch}")
    vm.accelerator()                    # refused before anything is built
    if vm.ACCEL == "kvm" and any(arch_of(s) is not kernel.X86 for s in suites):
        say("  ACCEL=kvm is for guests of this host's architecture; tcg executes the others")
    LOGS.mkdir(parents=True, exist_ok=True)
    with lock(BUILD / ".test.lock", "make test"):
        REPORT.unlink(missing_ok=True)  # of a run that does not get that far, none is left
        outlook.plan(plan(suites), sum(s["budget"] for s in suites))
        prepare(suites)
        return run_all(suites, a.all)


def run_all(suites, keep):
    total, spent, results = Counter(), 0, []
    for suite in suites:
        try:
            path = kept_as(suite) if keep else None
        except Failed:
            path = None                 # running it says what is wrong
        known = remembered(path)
        took, cases = known or result_of(suite)
        count = report(suite, took, cases, kept=bool(known))
        if path and not known and not count["not ok"]:
            write_atomically(path, json.dumps([took, [asdict(c) for c in cases]]))
        total += count
        spent += 0 if known else took
        results.append((suite["name"], took, cases))
        write_atomically(REPORT, junit(results))
    if keep and KEPT.exists():
        prune(KEPT, 100)
    budget = sum(s["budget"] for s in suites)
    say(f"suites: {spent / 60:.1f} of {budget / 60:.1f} min budgeted; each case: {shown(REPORT)}")
    if total["known"]:
        say(f"{total['known']} more fail as on the base: fails_on_base in tests/suites.toml")
    # The form that continuous integration reads: no more than this
    say(figures(total - Counter(known=total["known"])))
    return 1 if total["not ok"] else 0


if __name__ == "__main__":
    main(cli)
