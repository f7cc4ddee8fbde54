# SPDX-License-Identifier: GPL-2.0-only
"""make test: what is selected, how skips and budgets are judged, how results are written."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import kernel
import test
from common import Failed
from ktap import Case, junit, parse, undisturbed


def states(cases):
    return {c.name: c.state for c in cases}


class Skips(unittest.TestCase):
    def judge(self, *cases, listed=None, whole=True):
        return states(test.judge_skips([Case(*c) for c in cases], listed or {}, whole))

    def test_one_that_is_not_listed_fails(self):
        self.assertEqual(self.judge(("p: f.t", "skip", "needs tracefs")), {"p: f.t": "not ok"})

    def test_one_that_is_listed_is_a_skip(self):
        self.assertEqual(self.judge(("p: f.t", "skip"), listed={"p: f.*": "no PRI"}),
                         {"p: f.t": "skip"})

    def test_one_that_is_listed_and_runs_fails(self):
        found = self.judge(("p: f.t", "ok"), ("p: f.u", "skip"), listed={"p: f.?": "no PRI"})
        self.assertEqual(found, {"p: f.t": "not ok", "p: f.u": "skip"})

    def test_one_that_is_listed_and_gone_fails(self):
        self.assertEqual(self.judge(("p: f.t", "ok"), listed={"p: f.u": "no PRI"}),
                         {"p: f.t": "ok", "p: f.u": "not ok"})
        self.assertEqual(self.judge(("p: f.t", "ok"), listed={"p: f.u": "no PRI"}, whole=False),
                         {"p: f.t": "ok"})

    def test_a_failure_stays_one(self):
        self.assertEqual(self.judge(("p: f.t", "not ok"), listed={"p: f.t": "no PRI"}),
                         {"p: f.t": "not ok"})

    def test_the_callers_seed_comes_after_the_suites(self):
        suites = [dict(kind="guest", environment="SVA_SEED=1"), dict(kind="kunit")]
        with mock.patch.dict(test.os.environ, SVA_SEED="2 3", SVA_CONT="1"):
            for suite in suites:
                test.with_environment(suite)
        self.assertEqual(suites, [dict(kind="guest", environment="SVA_SEED=1 SVA_SEED='2 3'"),
                                  dict(kind="kunit")])

    def test_lists_belong_to_suites(self):
        names = {s["name"] for s in test.all_suites()}
        listed = test.tomllib.loads(test.read(test.SKIPS))
        groups = {g for s in test.all_suites() for g in s.get("skips_of", [])}
        self.assertEqual(set(listed) - names - groups, set())


class Selection(unittest.TestCase):
    SUITES = [dict(name="a"), dict(name="b", tier="all")]

    def names(self, *args):
        return [s["name"] for s in test.select(self.SUITES, *args)]

    def test_tiers(self):
        self.assertEqual(self.names("test", [], ""), ["a"])
        self.assertEqual(self.names("all", [], ""), ["a", "b"])
        self.assertEqual(self.names("test", ["b"], ""), ["b"])

    def test_an_architecture_has_suites_of_its_kernels(self):
        suites = [dict(name="a"), dict(name="b", kernel="debug"), dict(name="c", kernel="arm64")]
        for arch, names in (("", "abc"), ("arm64", "c"), ("x86_64", "b")):
            self.assertEqual("".join(s["name"] for s in test.of_architecture(suites, arch)), names)
        with self.assertRaises(Failed):
            test.of_architecture(suites, "arm")
        self.assertIn("arm64", kernel.chosen([], "arm64"))
        self.assertNotIn("debug", kernel.chosen([], "arm64"))
        for names, arch in ((["debug"], "arm64"), (["none"], "")):
            with self.assertRaises(Failed):
                kernel.chosen(names, arch)

    def test_what_is_not_there_is_refused(self):
        with self.assertRaises(Failed):
            self.names("test", ["c"], "")
        with self.assertRaises(Failed):
            self.names("test", [], "p.t")

    def test_one_test_of_a_program(self):
        programs = [Path("sva_map"), Path("sva_fork")]
        self.assertEqual(test.chosen(programs, "sva_map.munmap"), (programs[:1], "-t munmap"))
        self.assertEqual(test.chosen(programs, "sva_map.sva_map.pri.munmap"),
                         (programs[:1], "-r sva_map.pri.munmap"))
        self.assertEqual(test.chosen(programs, "sva_fork"), (programs[1:], ""))
        with self.assertRaises(Failed):
            test.chosen(programs, "sva_nap.munmap")


class Base(unittest.TestCase):
    """What fails on the base is on a list that is checked both ways."""
    KNOWN = {f"{p}: f.t": dict(why="why", fails=r"\(2\) == hits") for p in "pq"}

    def excused(self, state, failed=("Expected 1 (2) == hits (1)",), **more):
        cases = [Case("p: f.t", state, "x"), *(Case(n, s) for n, s in more.items())]
        test.excuse(cases, self.KNOWN, {"p: f.t": list(failed)})
        return cases

    def test_it_has_to_fail(self):
        self.assertEqual([c.state for c in self.excused("not ok")], ["skip"])
        self.assertEqual([c.state for c in self.excused("ok", other="not ok")], ["not ok", "not ok"])

    def test_it_has_to_fail_as_listed(self):
        listed = "Expected 1 (2) == hits (1)"
        for failed in ([], ["Expected 1 (3) == hits (1)"], [listed, "Expected 0 (0) != sva_clean(s) (0)"]):
            self.assertEqual(states(self.excused("not ok", failed)), {"p: f.t": "not ok"})
        self.assertEqual(states(self.excused("not ok", [listed] * 2)), {"p: f.t": "skip"})

    def test_a_program_says_what_did_not_hold(self):
        text = ("## p\nTAP version 13\n1..1\n# x.c:9:t:Expected 1 (2) == hits (1)\n# t: Test failed\n"
                "not ok 1 f.t\n## exit 1\n")
        result = test.vm.Result(0, text, "", test.LOGS)
        with mock.patch.object(test.vm, "run_guest", return_value=result):
            for fails, state in ((r"== hits", "skip"), ("sva_clean", "not ok")):
                suite = dict(name="s", kernel="debug", timeout=1, image="i",
                             fails_on_base={"p: f.t": dict(why="why", fails=fails)})
                cases = test.run_programs(suite, [Path("p")], "s").cases
                self.assertEqual(states(cases), {"p: f.t": state})

    def test_it_has_to_be_there(self):
        cases = self.excused("not ok")
        self.assertEqual(test.nowhere(cases, self.KNOWN, ["p"]), [])
        self.assertEqual(states(test.nowhere(cases, self.KNOWN, ["p", "q"])), {"q: f.t": "not ok"})
        self.assertEqual(states(test.nowhere([], self.KNOWN, ["p"])), {"p: f.t": "not ok"})

    def test_it_is_counted(self):
        with mock.patch.object(test, "say"):
            count = test.report(dict(name="s", about="", budget=1), 1,
                                [*self.excused("not ok"), Case("s", "skip"), Case("t", "ok")])
        self.assertEqual(test.figures(count), "1 passed, 0 failed, 1 skipped, 1 as on the base")
        self.assertEqual(test.figures(count - test.Counter(["known"])),
                         "1 passed, 0 failed, 1 skipped")

    def test_it_has_run(self):
        for skips, why, states_ in (({}, test.ON_BASE + "why", {"p: f.t": "skip"}),
                                    ({"p: f.t": "why"}, "why", {"p: f.t": "skip", "s": "not ok"})):
            verdict = test.Verdict([Case("p: f.t", "skip", why)])
            with mock.patch.dict(test.KINDS, x=lambda suite: verdict):
                cases = test.result_of(dict(name="s", kind="x", skips=skips))[1]
            self.assertEqual(states(cases), states_)

    def test_patterns_are_some(self):
        for suite in test.all_suites():
            for entry in suite.get("fails_on_base", {}).values():
                test.re.compile(entry["fails"])


class Ktap(unittest.TestCase):
    """What decides between red and green, through the kernel's own parser."""

    def parse(self, text):
        return states(parse(text))

    def test_cases_have_the_names_of_their_suites(self):
        self.assertEqual(self.parse(
            "[ 1.0] KTAP version 1\n[ 1.0] 1..1\n[ 1.0]     KTAP version 1\n[ 1.0]     # Subtest: s\n"
            "[ 1.0]     1..2\n[ 1.0]     ok 1 a\n[ 1.0]     ok 2 b # SKIP no PRI\n[ 1.0] ok 1 s\n"),
            {"s/a": "ok", "s/b": "skip"})

    def test_a_suite_that_fails_by_itself_fails(self):
        found = self.parse("KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..1\n"
                           "    ok 1 a\nnot ok 1 s\n")
        self.assertEqual(found, {"s/a": "ok", "s": "not ok"})

    def test_a_plan_may_come_last(self):
        self.assertEqual(self.parse("ok 1 a\nok 2 b\n1..2\n"), {"a": "ok", "b": "ok"})
        self.assertEqual(self.parse("TAP version 13\n# Start of x tests\nok 1 /x/a\n"
                                    "# End of x tests\n1..1\n"), {"/x/a": "ok"})

    def test_what_cannot_be_read_fails(self):
        for text in ("", "nothing", "TAP version 13\n1..2\nok 1 a\n",
                     "TAP version 13\n1..2\nok 1 a\nKTAP version 1\n"):
            self.assertIn("not ok", self.parse(text).values(), text)

    def test_a_reason_is_told(self):
        case = parse("TAP version 13\n1..1\n# x.c:12:t:Expected 1 (1) == 2 (2)\nnot ok 1 t\n")[0]
        self.assertEqual((case.state, case.why), ("not ok", "x.c:12:t:Expected 1 (1) == 2 (2)"))

    def test_a_program_that_ends_otherwise_than_it_says_fails(self):
        def results(text, status):
            return states(test.results_of("p", text, status))
        fine = "TAP version 13\n1..1\nok 1 f.t\n"
        self.assertEqual(results(fine, 0), {"p: f.t": "ok"})
        self.assertIn("not ok", results(fine, 1).values())
        failed = "TAP version 13\n1..1\nnot ok 1 f.t\n"
        self.assertEqual(results(failed, 1), {"p: f.t": "not ok"})
        self.assertIn("p", results(failed, 139))
        self.assertIn("not ok", results(fine, None).values())
        self.assertIn("not ok", results("", 0).values())
        self.assertEqual(results("needs svadev\n", 4), {"p": "skip"})


class Results(unittest.TestCase):
    def test_junit_counts_and_says_why(self):
        rows = [("s", 1.5, [Case("a", "ok"), Case("b", "not ok", "x\0<y>"), Case("c", "skip", "z")])]
        suite = ElementTree.fromstring(junit(rows).encode())[0]
        self.assertEqual([suite.get(k) for k in ("tests", "failures", "skipped")], ["3", "1", "1"])
        self.assertEqual(suite[1][0].get("message"), "x?<y>")

    def test_header_is_in_one_piece(self):
        lines = ["[ 1.0] KTAP version 1", "[ 1.0] 1..1", "[ 1.1]     KTAP version 1",
                 "[ 1.1] tsc: Refined TSC clocksource calibration: 2596.150 MHz",
                 "[ 1.1]     # Subtest: suite", "[ 1.2]     1..1", "[ 1.3] DMAR: something",
                 "[ 1.4]     ok 1 case", "[ 1.4] ok 1 suite", ""]
        whole = "\n".join(lines)
        without = "\n".join(l for l in lines if "tsc" not in l)
        self.assertEqual(undisturbed(whole), without)
        self.assertEqual(undisturbed(without), without)

    def test_only_what_passed_is_kept_until_a_part_changes(self):
        ran = []

        def run(suite):
            ran.append(suite["name"])
            return test.Verdict([Case("t", suite["outcome"])])
        with tempfile.TemporaryDirectory() as tmp, \
                mock.patch.multiple(test, KEPT=Path(tmp), REPORT=Path(tmp) / "r.xml",
                                    KINDS={"x": run}, say=lambda *a: None,
                                    kept_as=lambda s: Path(tmp) / f"{s['name']}{s['part']}"):
            def round(outcome, part=1):
                suite = dict(name="s", kind="x", about="", budget=1, skips={}, outcome=outcome,
                             part=part)
                return test.run_all([suite], True)
            self.assertEqual([round("not ok"), round("ok"), round("ok"), round("ok", 2)],
                             [1, 0, 0, 0])
        self.assertEqual(len(ran), 3)


class KernelLog(unittest.TestCase):
    """What a guest's kernel says decides, too."""
    REPORT = "[    9.1] " + "=" * 66 + """
[    9.1] BUG: KASAN: slab-use-after-free in iommu_alist_flush+0x1a2/0x300
[    9.1] Read of size 8 at addr ffff888005a1c010 by task kunit_try_catch/120
[    9.1]
[    9.1] Freed by task 119:
[    9.1] """ + "=" * 66 + "\n"
    PASSED = "TAP version 13\n1..1\nok 1 f.t\n"

    def suite(self, console="", text="", **suite):
        """The cases of a suite of one program, or of KUnit, in a guest that says this."""
        suite = dict(dict(name="s", kernel="kasan", timeout=1, image="i"), **suite)
        result = test.vm.Result(0, f"{text}## p\n{self.PASSED}## exit 0\n", console + self.PASSED,
                                test.LOGS / "s.console.log", test.vm.troubles(console, None))
        with mock.patch.object(test.vm, "run_guest", return_value=result) as run:
            verdict = test.run_programs(suite, [Path("p")], "s") if suite.get("programs") \
                else test.run_kunit(suite)
        self.ran = run.call_args.args[2]
        return [c.why for c in verdict.cases if c.state == "not ok"]

    def test_a_report_of_kasan_fails_a_suite_whose_tests_pass(self):
        for programs in ("p", None):
            self.assertEqual(self.suite(programs=programs), [])
            why = self.suite(self.REPORT, programs=programs)
            self.assertEqual(len(why), 1)
            self.assertIn("BUG: KASAN: slab-use-after-free", why[0])

    def test_what_must_be_logged_is_looked_for(self):
        for programs, said in (("p", dict(text=f"{test.LOGGED}\n")), (None, dict(console="marvel\n"))):
            self.assertEqual(self.suite(programs=programs, must_log="marvel", **said), [])
            self.assertEqual(len(self.suite(programs=programs, must_log="marvel")), 1)
        self.suite(programs="p", must_log="marvel")
        self.assertIn("dmesg | grep -qF 'marvel'", self.ran)


class Kselftest(unittest.TestCase):
    """The kernel's own runner tells the kernel's log what runs, as far as its messages are excused."""
    PROGRAM = "#!/bin/sh\necho message of ${0##*/} >>%s\nprintf '1..1\\n# \\\\ selftests: x y\\nok 1 a\\n'\nexit %d\n"

    def command(self, home, log):
        """What runs two programs by the kernel's runner, which say in a log that they begin."""
        source = test.LINUX.tree / "tools/testing/selftests"
        if not source.exists():
            self.skipTest("there is no tree yet: make tree")
        (home / "iommu").mkdir()
        shutil.copytree(source / "kselftest", home / "kselftest")
        shutil.copy(source / "run_kselftest.sh", home)
        (home / "kselftest-list.txt").write_text("iommu:sva_timeout\niommu:sva_map\n")
        for status, name in enumerate(("sva_timeout", "sva_map")):
            (home / "iommu" / name).write_text(self.PROGRAM % (log, status))
            (home / "iommu" / name).chmod(0o755)
        return "./run_kselftest.sh -t iommu:sva_timeout -t iommu:sva_map"

    def run_in(self, home, log):
        """What they print, and the exit status, with what is told and without."""
        command = self.command(home, log)
        return [subprocess.run(["busybox", "sh", "-c", c], cwd=home, text=True, stdout=subprocess.PIPE)
                for c in (command, f": >{log}; {test.told(command, log)}")]

    @unittest.skipUnless(shutil.which("busybox"), "no busybox")
    def test_each_program_is_told_and_all_else_stays(self):
        with tempfile.TemporaryDirectory() as tmp:
            home, log = Path(tmp) / "home", Path(tmp) / "kmsg"
            home.mkdir()
            plain, told = self.run_in(home, log)
            self.assertEqual(log.read_text(), "".join(f"<3>## {p}\nmessage of {p}\n"
                                                      for p in ("sva_timeout", "sva_map")))
            failed = subprocess.run(["busybox", "sh", "-c", test.told("(exit 3)", log)], cwd=home)
        self.assertEqual((plain.stdout, plain.returncode), (told.stdout, told.returncode))
        self.assertEqual([c.state for c in parse(told.stdout)], ["ok", "not ok"])
        self.assertEqual(failed.returncode, 3)

    @unittest.skipUnless(shutil.which("busybox"), "no busybox")
    def test_none_begins_before_it_is_told(self):
        with tempfile.TemporaryDirectory() as tmp:
            home, begun, log = (Path(tmp) / n for n in ("home", "begun", "kmsg"))
            home.mkdir()
            os.mkfifo(log)              # nobody reads it
            p = subprocess.Popen(["busybox", "sh", "-c", test.told(self.command(home, begun), log)],
                                 cwd=home, stdout=subprocess.DEVNULL, start_new_session=True)
            try:
                with self.assertRaises(subprocess.TimeoutExpired):
                    p.wait(1)
            finally:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
            self.assertFalse(begun.exists())

    def test_what_one_may_do_another_may_not(self):
        line = "[ 2.0] DMAR: VT-d detected Invalidation Time-out Error: SID 100"
        for program, count in (("sva_timeout", 0), ("sva_map", 1)):
            log = f"[ 1.0] ## {program}\n{line}\n"
            self.assertEqual(len(test.vm.troubles(log, None, test.expected_messages())), count)

    def test_nobody_is_excused_before_the_first(self):
        result = test.vm.Result(0, "TAP version 13\n1..1\nok 1 selftests: iommu: sva_map\n", "", test.LOGS)
        with mock.patch.object(test.vm, "run_guest", return_value=result) as run, \
                mock.patch.object(test.selftests, "install", lambda: Path("kselftest")):
            test.run_kselftest(dict(name="s", kernel="debug", timeout=1, image="i",
                                    arguments="-t iommu:sva_timeout"))
        self.assertEqual(run.call_args.kwargs["expects"], test.expected_messages())
        self.assertIn("\n./run_kselftest.sh -t iommu:sva_timeout\n", run.call_args.args[2])


class Qemu(unittest.TestCase):
    def test_the_same_content_has_one_key(self):
        """Committed or not: git's word for what is edited is none of it."""
        def key(edits):
            with mock.patch.multiple(test.qemu.QEMU, snapshot=lambda: "", git=lambda *a: "tree",
                                     edits=lambda: edits):
                return test.qemu.key()
        self.assertEqual(key(""), key(" M hw/misc/svadev.c"))


class Mutants(unittest.TestCase):
    """The suite of mutants that are made by operators."""
    def judge(self, **count):
        def names(state):
            return [f"{state}-{n}" for n in range(count.get(state, 0))]
        return {c.state for c in test.judge_mutants(dict(sample=10, survivors=2), names)}

    def test_few_may_survive(self):
        self.assertEqual(self.judge(caught=8, survived=2), {"ok"})
        self.assertEqual(self.judge(caught=8, survived=1, equivalent=1), {"ok"})
        self.assertEqual(self.judge(caught=7, survived=3), {"ok", "not ok"})
        self.assertEqual(self.judge(caught=9, survived=1, undecided=2), {"ok", "not ok"})
        self.assertEqual(self.judge(caught=10, failed=1), {"ok", "not ok"})

    def test_a_sample_without_mutants_fails(self):
        self.assertIn("not ok", self.judge())
        self.assertIn("not ok", self.judge(equivalent=10))
        self.assertIn("not ok", self.judge(caught=9))


    def test_a_kept_result_is_of_the_suites_that_try_them(self):
        suite = dict(name="m", kind="mutants")
        suites = test.all_suites()

        def key(**changed):
            now = [dict(s, **changed) if s["name"] == "kunit" else s for s in suites]
            with mock.patch.object(test.qemu, "key", lambda **options: "qemu"), \
                    mock.patch.object(test, "all_suites", lambda: now):
                return test.kept_as(suite)
        self.assertEqual(key(), key())
        self.assertNotEqual(key(), key(append="x"))
        names = {s["name"] for s in test.suites_of_mutants()}
        self.assertIn("sva", names)
        self.assertNotIn("host", names)


class Budgets(unittest.TestCase):
    """The minutes of tests/suites.toml add up, on the slow machine that they are for."""

    def setUp(self):
        self.all = test.configuration()

    def minutes(self):
        suites = [s for s in self.all["suite"] if s.get("tier", "test") == "test"]
        parts = self.all["minutes"]
        return sum(parts[k] for k in parts if not k.startswith("limit")) + sum(s["budget"] for s in suites) / 60

    def test_make_test_fits_cold(self):
        self.assertLessEqual(self.minutes(), self.all["minutes"]["limit"])

    def test_what_is_to_come_fits_too(self):
        self.assertLessEqual(self.all["minutes"]["limit"] + sum(self.all["reserved"].values()),
                             self.all["minutes"]["limit_later"])

    def test_make_test_wants_two_kernels(self):
        suites = [s for s in self.all["suite"] if s.get("tier", "test") == "test"]
        self.assertEqual({s["kernel"] for s in suites if "kernel" in s}, {"debug", "arm64"})

    def test_every_suite_can_run(self):
        for s in self.all["suite"]:
            self.assertIn(s["kind"], test.KINDS, s["name"])
            self.assertIn(s.get("kernel", "debug"), kernel.FLAVOURS, s["name"])
            self.assertGreater(s.get("timeout", s["budget"] + 1), s["budget"], s["name"])
