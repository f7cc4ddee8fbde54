# SPDX-License-Identifier: GPL-2.0-only
"""The suite `notice`: what is expected of each test when an invalidation is lost."""

import tomllib
import unittest

import notice
from notice import Seen

OUTPUT = """\
TAP version 13
## sva_map
1..3
# lost on purpose: 2 commands
ok 1 sva_map.ats.a
# lost on purpose: 1 commands
# lost on purpose: 0 commands
not ok 2 sva_map.ats.b
ok 3 sva_map.ats.c # SKIP no
## exit 1
## sva_bind
1..1
ok 1 global.d
## exit 0
"""


class Judged(unittest.TestCase):
    def judge(self, state, count, **expected):
        """Whether all is well with one test."""
        cases = notice.judge("atc", dict(programs=["p"], **expected), {"p: t": Seen(state, count)})
        return all(c.state == "ok" for c in cases)

    def test_one_that_sees_has_to_fail(self):
        self.assertTrue(self.judge("not ok", 1, sees=["p: t"]))
        self.assertFalse(self.judge("ok", 1, sees=["p: t"]))
        self.assertFalse(self.judge("ok", 0, sees=["p: t"]))
        self.assertFalse(self.judge("skip", 0, sees=["p: t"]))

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

    def test_one_that_cannot_be_relied_on_is_not_judged(self):
        for state in ("ok", "not ok", "skip"):
            self.assertTrue(self.judge(state, 1, either={"p: *": "why"}))

    def test_what_is_listed_exists_once(self):
        self.assertFalse(self.judge("not ok", 1, sees=["p: t", "p: gone"]))
        self.assertFalse(self.judge("not ok", 1, sees=["p: t"], blind={"p: *": "why"}))


class Observed(unittest.TestCase):
    def test_commands_are_counted_by_test(self):
        self.assertEqual(notice.lost(OUTPUT), {"sva_map: sva_map.ats.a": 2, "sva_map: sva_map.ats.b": 1,
                                               "sva_map: sva_map.ats.c": 0, "sva_bind: global.d": 0})

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
                          "either": {"p: c": notice.TODO}})
        for seen in rounds:
            again = notice.judge("atc", tomllib.loads(text)["atc"], seen)
            self.assertEqual({c.state for c in again}, {"ok"})

    def test_unsteady_ones_stay_so(self):
        text = notice.as_toml("atc", ["p"], [{"p: c.x": Seen("ok", 0)}], {"either": {"p: c.*": "why"}})
        self.assertEqual(tomllib.loads(text)["atc"]["either"], {"p: c.*": "why"})


class Ours(unittest.TestCase):
    def test_every_kind_has_programs_that_see_it(self):
        self.assertEqual(set(notice.expectations()), {"iotlb", "atc", "config"})
        for kind, expected in notice.expectations().items():
            self.assertTrue(expected["sees"], kind)
            for name in [*expected["sees"], *expected.get("blind", ()), *expected.get("either", ())]:
                self.assertIn(name.split(": ")[0], expected["programs"], name)

    def test_every_exception_has_a_reason(self):
        for expected in notice.expectations().values():
            for word in ("blind", "either"):
                for name, why in expected.get(word, {}).items():
                    self.assertNotIn(why, ("", notice.TODO), name)
