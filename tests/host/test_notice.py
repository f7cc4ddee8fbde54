# SPDX-License-Identifier: GPL-2.0-only
"""The suite `notice`: what is expected of each test when an invalidation is lost."""

import tomllib
import unittest
from unittest import mock

import notice
import selftests
from notice import Seen

OUTPUT = """\
TAP version 13
## sva_map
1..3
# lost on purpose: 2 commands
ok 1 sva_map.ats.a
# sva_map.c:9:b:Expected 0 (0) == sva_fill(q, p, 1, 8) (0)
# sva_map.c:9:b:a note
# lost on purpose: 1 commands
# lost on purpose: 0 commands
# b: Test terminated by assertion
# b: Test terminated unexpectedly by signal 11
not ok 2 sva_map.ats.b
ok 3 sva_map.ats.c # SKIP no
## exit 1
## sva_bind
1..1
ok 1 global.d
## exit 0
"""


class Judged(unittest.TestCase):
    def judge(self, state, count, *failed, **expected):
        """Whether all is well with one test."""
        cases = notice.judge("atc", dict(programs=["p"], **expected),
                             {"p: t": Seen(state, count, list(failed))})
        return all(c.state == "ok" for c in cases)

    def test_one_that_sees_has_to_fail(self):
        self.assertTrue(self.judge("not ok", 1, sees=["p: t"]))
        self.assertFalse(self.judge("ok", 1, sees=["p: t"]))
        self.assertFalse(self.judge("ok", 0, sees=["p: t"]))
        self.assertFalse(self.judge("skip", 0, sees=["p: t"]))

    def test_one_that_fails_before_it_loses_anything_does_not_see(self):
        stale = "Expected 0 (0) != sva_clean(s) (0)"
        self.assertTrue(self.judge("not ok", 1, stale, sees=["p: t"]))
        self.assertFalse(self.judge("not ok", 0, stale, sees=["p: t"]))
        for died in ("Test terminated unexpectedly by signal 11", "Test exited normally instead of by signal"):
            self.assertFalse(self.judge("not ok", 1, stale, died, sees=["p: t"]))

    def test_one_that_is_not_listed_loses_nothing(self):
        self.assertTrue(self.judge("ok", 0))
        self.assertTrue(self.judge("skip", 0))
        self.assertFalse(self.judge("ok", 1))
        self.assertFalse(self.judge("not ok", 1))
        self.assertFalse(self.judge("not ok", 0))

    def test_one_that_is_blind_passes_for_a_reason(self):
        self.assertTrue(self.judge("ok", 1, blind={"p: t": "why"}))
        self.assertFalse(self.judge("not ok", 1, blind={"p: t": "why"}))
        self.assertFalse(self.judge("ok", 0, blind={"p: t": "why"}))

    def test_one_that_loses_nothing_does_so(self):
        self.assertTrue(self.judge("ok", 0, nothing={"p: *": "why"}))
        self.assertTrue(self.judge("skip", 0, nothing={"p: t": "why"}))
        self.assertFalse(self.judge("ok", 1, nothing={"p: t": "why"}))
        self.assertFalse(self.judge("not ok", 0, nothing={"p: t": "why"}))
        self.assertFalse(self.judge("ok", 0, nothing={"p: t": "why", "p: u": "why"}))

    def test_one_that_cannot_be_relied_on_fails_as_it_may_and_no_otherwise(self):
        either = {"p: *": dict(why="why", fails="sva_clean|sva_fill")}
        stale, signal = "Expected 0 (0) != sva_clean(s) (0)", "Test terminated unexpectedly by signal 11"
        for said, well in ((["ok"], True), (["not ok", stale], True), (["skip"], False),
                           (["not ok"], False), (["not ok", stale, signal], False),
                           (["not ok", "Expected 0 (0) == sva_exit_code(c.pid) (1)"], False)):
            self.assertEqual(self.judge(said[0], 1, *said[1:], either=either), well, said)
            self.assertFalse(self.judge(said[0], 0, *said[1:], either=either), "loses nothing")

    def test_one_that_suffers_from_what_others_lost_fails_as_it_may(self):
        later = {"p: *": dict(why="why", fails="sva_sees")}
        for said, lost, well in ((["ok"], 0, True), (["skip"], 0, True), (["ok"], 1, False),
                                 (["not ok", "Expected 0 (0) != sva_sees(q) (0)"], 0, True),
                                 (["not ok", "Expected 0 (0) != sva_sees(q) (0)"], 1, False),
                                 (["not ok", "Test terminated unexpectedly by signal 11"], 0, False)):
            self.assertEqual(self.judge(said[0], lost, *said[1:], later=later), well, (said, lost))

    def test_what_is_listed_exists_once(self):
        self.assertFalse(self.judge("not ok", 1, sees=["p: t", "p: gone"]))
        self.assertFalse(self.judge("not ok", 1, sees=["p: t"], blind={"p: *": "why"}))


class Observed(unittest.TestCase):
    def test_commands_are_counted_by_test(self):
        self.assertEqual(notice.lost(OUTPUT), {
            "sva_map: sva_map.ats.a": (2, []),
            "sva_map: sva_map.ats.b": (1, ["Expected 0 (0) == sva_fill(q, p, 1, 8) (0)",
                                           "Test terminated unexpectedly by signal 11"]),
            "sva_map: sva_map.ats.c": (0, []), "sva_bind: global.d": (0, [])})

    def test_a_matrix_shows_it(self):
        lines = notice.matrix({"iotlb": {"p: t": Seen("not ok", 1)}, "atc": {"p: t": Seen("ok", 1)},
                               "config": {"p: u": Seen("skip", 0)}})
        self.assertEqual([l.split() for l in lines],
                         [["iotlb", "atc", "config"], ["p:", "t", "sees", "blind"], ["p:", "u", "skips"]])

    def test_the_file_is_written_as_observed(self):
        rounds = [{"p: a": Seen("not ok", 1), "p: b": Seen("ok", 1), "p: c": Seen("ok", 1),
                   "p: d": Seen("ok", 0)},
                  {"p: a": Seen("not ok", 1), "p: b": Seen("ok", 1), "p: c": Seen("not ok", 1),
                   "p: d": Seen("ok", 0)}]
        text = notice.as_toml("atc", ["p"], rounds, {"blind": {"p: b": "reason"}})
        self.assertEqual(tomllib.loads(text)["atc"],
                         {"programs": ["p"], "sees": ["p: a"], "blind": {"p: b": "reason"},
                          "either": {"p: c": dict(why=notice.TODO, fails=notice.TODO)}})
        for seen in rounds:
            seen["p: c"].failed = [notice.TODO]
            again = notice.judge("atc", tomllib.loads(text)["atc"], seen)
            self.assertEqual({c.state for c in again}, {"ok"})

    def test_unsteady_ones_stay_so(self):
        either = {"p: c.*": dict(why="\"why\"", fails="a|b")}
        text = notice.as_toml("atc", ["p"], [{"p: c.x": Seen("ok", 0)}], {"either": either})
        self.assertEqual(tomllib.loads(text)["atc"]["either"], either)

    def test_those_that_change_something_and_lose_nothing_are_named(self):
        seen = {f"p: {name}": Seen(state, 0) for name, state in
                (("a", "ok"), ("b.x", "skip"), ("b.y", "ok"), ("looks", "ok"))}
        with mock.patch.object(notice, "changing", lambda program: {"a", "b.x", "b.y"}):
            text = notice.as_toml("atc", ["p"], [seen], {"nothing": {"p: b.*": "why"}})
        self.assertEqual(tomllib.loads(text)["atc"]["nothing"], {"p: a": notice.TODO, "p: b.*": "why"})
        self.assertNotIn("either", tomllib.loads(text)["atc"])


class Ours(unittest.TestCase):
    def all(self):
        return [*notice.expectations().items(), *notice.expectations("notice-arm64").items()]

    def test_every_kind_has_programs_that_see_it(self):
        self.assertEqual(set(notice.expectations()), {"iotlb", "atc", "config"})
        self.assertEqual(set(notice.expectations("notice-arm64")), {"iotlb", "atc", "pasid", "function"})
        for kind, expected in self.all():
            self.assertTrue(expected["sees"], kind)
            for name in (n for word in notice.WORDS for n in expected.get(word, ())):
                self.assertIn(name.split(": ")[0], expected["programs"], name)

    def test_each_test_that_changes_a_page_table_is_named(self):
        """For each kind, and so has to do what is said of it, with each variant."""
        for kind, expected in self.all():
            there = {f"{p}: {t}" for p in expected["programs"] for t in selftests.tests_of(p)}
            changing = {f"{p}: {t}" for p in expected["programs"] for t in notice.changing(p)}
            named = {name: [p for word in notice.WORDS for p in expected.get(word, ())
                            if notice.matching(name, [p])] for name in there}
            self.assertEqual({n for n in changing if not named[n]}, set(), f"[{kind}] has not")
            self.assertEqual({n for n, hits in named.items() if len(hits) > 1}, set(), kind)
            self.assertEqual({n for n in named if named[n]} - changing, set(), f"change nothing, {kind}")
            for pattern in (p for word in notice.LISTED for p in expected.get(word, ())):
                self.assertTrue(any(notice.matching(n, [pattern]) for n in there), pattern)

    def test_who_changes_a_page_table_is_found(self):
        changing = notice.changing("sva_window")
        self.assertIn("sva_window.atc.unmap", changing, "by the unmapper")
        self.assertNotIn("sva_window.atc.everybody", changing)
        self.assertIn("sva_multi.bind_and_unbind_meanwhile", notice.changing("sva_multi"), "by a helper")
        self.assertIn("sva_reclaim.is_seen", notice.changing("sva_reclaim"), "by a function of its own")
        self.assertIn("sva_map.ats.munmap", notice.changing("sva_map"), "by itself")
        self.assertNotIn("sva_exit.pri_kill.requesting", notice.changing("sva_exit"))

    def test_every_exception_has_a_reason(self):
        for expected in (e for _, e in self.all()):
            for word in notice.WORDS[1:]:
                for name, why in expected.get(word, {}).items():
                    for said in why.values() if word == "either" else [why]:
                        self.assertNotIn(said, ("", notice.TODO), name)
