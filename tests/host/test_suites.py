# SPDX-License-Identifier: GPL-2.0-only
"""make test: what is selected, how skips and budgets are judged, how results are written."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import kernel
import test
from common import Failed
from ktap import Case, junit, undisturbed


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

    def test_what_is_not_there_is_refused(self):
        with self.assertRaises(Failed):
            self.names("test", ["c"], "")
        with self.assertRaises(Failed):
            self.names("test", [], "p.t")

    def test_one_test_of_a_program(self):
        programs = [Path("sva_map"), Path("sva_fork")]
        self.assertEqual(test.chosen(programs, "sva_map.munmap"), (programs[:1], "-t munmap"))
        self.assertEqual(test.chosen(programs, "sva_map.pri.munmap"),
                         (programs[:1], "-r pri.munmap"))
        self.assertEqual(test.chosen(programs, "sva_fork"), (programs[1:], ""))
        with self.assertRaises(Failed):
            test.chosen(programs, "sva_nap.munmap")


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


class Budgets(unittest.TestCase):
    """The minutes of tests/suites.toml add up, on the slow machine that they are for."""

    def setUp(self):
        self.all = test.configuration()

    def minutes(self):
        suites = [s for s in self.all["suite"] if s.get("tier", "test") == "test"]
        parts = self.all["minutes"]
        return sum(parts[k] for k in parts if k != "limit") + sum(s["budget"] for s in suites) / 60

    def test_make_test_fits_cold(self):
        self.assertLessEqual(self.minutes(), self.all["minutes"]["limit"])

    def test_what_is_to_come_fits_too(self):
        self.assertLessEqual(self.minutes() + sum(self.all["reserved"].values()), 70)

    def test_make_test_wants_two_kernels(self):
        suites = [s for s in self.all["suite"] if s.get("tier", "test") == "test"]
        self.assertEqual({s["kernel"] for s in suites if "kernel" in s}, {"debug", "arm64"})

    def test_every_suite_can_run(self):
        for s in self.all["suite"]:
            self.assertIn(s["kind"], test.KINDS, s["name"])
            self.assertIn(s.get("kernel", "debug"), kernel.FLAVOURS, s["name"])
            self.assertGreater(s.get("timeout", s["budget"] + 1), s["budget"], s["name"])
