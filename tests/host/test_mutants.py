# SPDX-License-Identifier: GPL-2.0-only
"""Mutants: what their files say, and what counts as caught."""

import contextlib
import io
import os
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import mutants
import trial
from common import ROOT, Failed
from mutants import Test, parse
from patchqueue import LINUX
from ktap import Case
from ktap import parse as parse_ktap
from test import Verdict

PATCH = "diff --git a/x.c b/x.c\n--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n"
CASE = Test("kunit", "suite.case")


class Files(unittest.TestCase):
    def test_header_is_understood(self):
        m = parse("x", "Breaks\nit.\n\nCaught-by: kunit suite.case\n"
                       f"Caught-by: sva sva_map.sva_map.pri.munmap, or a crash\n\n{PATCH}")
        self.assertEqual(m.about, "Breaks it.")
        self.assertEqual(m.tests, [CASE, Test("sva", "sva_map.sva_map.pri.munmap", True)])
        self.assertEqual(m.files, ["x.c"])

    def test_what_is_no_mutant_is_refused(self):
        good = "Caught-by: kunit suite.case\n"
        for text in (f"Breaks it.\n\n{PATCH}", f"{good}\n{PATCH}", f"Breaks it.\n\n{good}",
                     f"Breaks it.\n\nCaught-by: nosuch suite.case\n\n{PATCH}",
                     f"Breaks it.\n\nCaught-by: host test_tools\n\n{PATCH}",
                     f"Breaks it.\n\nCaught-by: suite.case\n\n{PATCH}",
                     f"Breaks it.\n\n{good}Caught-by: kunit suite.case or so\n\n{PATCH}"):
            with self.assertRaises(Failed, msg=text):
                parse("x", text)


    def test_a_test_that_does_not_exist_is_refused_and_what_to_write_is_said(self):
        def said(test):
            with self.assertRaises(Failed) as caught:
                parse("x", f"Breaks it.\n\nCaught-by: sva {test}\n\n{PATCH}")
            return str(caught.exception)
        for test in ("sva_map.sva_map.munmap", "sva_map.munmap"):
            for variant in ("pri", "ats", "untranslated"):
                self.assertIn(f"sva_map.sva_map.{variant}.munmap", said(test))
            self.assertNotIn("mprotect", said(test))
        self.assertIn("sva_map.sva_map.pri.mprotect_none", said("sva_map.sva_map.pri.nosuch"))
        for test in ("sva_kva.sva_kva.seen_by_every_unit", "sva_bind.global.no_sva_no_open", "sva_map"):
            parse("x", f"Breaks it.\n\nCaught-by: sva {test}\n\n{PATCH}")


class Caught(unittest.TestCase):
    def judge(self, *cases, test=CASE):
        verdict = Verdict([Case(*c) for c in cases])
        return test.passes(verdict) is None, bool(test.catches(verdict)[0])

    def test_the_case_that_is_named_decides(self):
        self.assertEqual(self.judge(("suite/case", "ok")), (True, False))
        self.assertEqual(self.judge(("suite/case", "not ok")), (False, True))
        self.assertEqual(self.judge(("suite/case/a", "ok"), ("suite/case/b", "not ok")),
                         (False, True))
        self.assertEqual(self.judge(("suite/case_too", "not ok")), (False, False))
        self.assertEqual(self.judge(("p: f.t", "not ok"), test=Test("sva", "p.f.t")),
                         (False, True))
        self.assertEqual(self.judge(("p: f.t", "not ok"), test=Test("sva", "p")), (False, True))

    def test_the_end_of_a_program_is_no_test_of_it(self):
        test = Test("sva", "p")
        crash = ("kernel log", "not ok", "Kernel panic")
        for ended in (("p", "not ok", "did not end"), ("p", "not ok", "did not run"),
                      ("p: output", "not ok", "missing plan"), ("p", "not ok", "exit status 139")):
            self.assertEqual(self.judge(ended, crash, test=test), (False, False), ended)
            self.assertEqual(self.judge(ended, ("p: f.t", "ok"), test=test), (False, False), ended)
        self.assertEqual(self.judge(("p", "not ok"), crash, test=Test("sva", "p", True)), (False, True))
        _, why = test.catches(Verdict([Case("p: f.t", "ok"), Case("p", "not ok", "exit status 139")]))
        self.assertEqual(why, "p: exit status 139")

    def test_a_case_of_which_the_output_breaks_off_is_none(self):
        text = ("KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: suite\n    1..2\n    ok 1 a\n"
                "        KTAP version 1\n        # Subtest: case\n        %s 1 x\nKernel panic\n")
        for param, caught in (("ok", False), ("not ok", True)):
            cases = [*parse_ktap(text % param), Case("kernel log", "not ok", "Kernel panic")]
            for name in ("suite.case", "suite"):
                seen, _ = Test("kunit", name).catches(Verdict(cases))
                self.assertEqual(bool(seen), caught, cases)

    def test_what_did_not_run_neither_passes_nor_catches(self):
        self.assertEqual(self.judge(), (False, False))
        self.assertEqual(self.judge(("suite/case", "skip")), (False, False))

    def test_a_crash_counts_only_if_the_header_says_so(self):
        crash = ("kernel log", "not ok", "hung: killed after 90 s")
        self.assertEqual(self.judge(crash), (False, False))
        self.assertEqual(self.judge(crash, ("suite/case", "ok")), (False, False))
        self.assertEqual(self.judge(crash, test=Test("kunit", "suite.case", True)),
                         (False, True))


class Tried(unittest.TestCase):
    """Each of a mutant's tests catches it."""
    def attempt(self, *cases):
        """The verdict if the runs with the mutant end with these cases."""
        runs = [Verdict([Case("suite/case", "ok")]), *(Verdict([Case(*c)]) for c in cases)]
        with tempfile.TemporaryDirectory() as tmp, \
                mock.patch.object(trial, "VERDICTS", Path(tmp)), \
                mock.patch.object(trial, "key", lambda *parts: trial.digest(*map(str, parts))), \
                mock.patch.object(Test, "run", side_effect=runs) as run:
            mutant = trial.Mutant("x", "text", "", [Test("kunit", "suite.case", True)])
            state, why = trial.each_catches("tree", mutant, {"debug": ""}, {"debug": ""})
            kept = len(list(Path(tmp).iterdir()))
        self.assertEqual(run.call_count, len(runs))
        self.alone = [bool(call.kwargs.get("alone")) for call in run.call_args_list]
        return state, kept

    def test_a_case_that_fails_is_enough(self):
        self.assertEqual(self.attempt(("suite/case", "not ok")), ("caught", 2))
        self.assertEqual(self.attempt(("suite/case", "ok")), ("survived", 1))

    def test_a_crash_comes_again_alone(self):
        hang, bug = (("kernel log", "not ok", w) for w in ("hung: killed after 90 s", "BUG: x"))
        self.assertEqual(self.attempt(hang, hang), ("caught", 2))
        self.assertEqual(self.alone, [False, False, True])
        self.assertEqual(self.attempt(hang, ("suite/case", "ok")), ("undecided", 1))
        self.assertEqual(self.attempt(hang, bug), ("undecided", 1))


class Words(unittest.TestCase):
    """What is typed after make mutants."""
    def refused(self, *words):
        said = io.StringIO()
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(said):
            mutants.arguments(words)
        return said.getvalue()

    def test_a_sample_is_told_from_those_with_names(self):
        for words in (["--files=x.c"], ["--guests"], ["--seed=2"], ["--mutant=a", "--guests"]):
            self.assertIn("SAMPLE=", self.refused(*words))
        self.assertIn("MUTANT=", self.refused("--sample=3", "--mutant=a"))
        self.assertEqual(mutants.arguments(["--sample=3", "--files=x.c"]).sample, 3)
        self.assertIsNone(mutants.arguments([]).sample)

    def test_a_sample_is_of_some(self):
        for word in ("0", "-1", "x", ""):
            self.assertIn("no number", self.refused(f"--sample={word}"))


class Ours(unittest.TestCase):
    def test_they_break_code_not_its_tests(self):
        for m in mutants.all_mutants():
            for file in m.files:
                self.assertFalse(re.search(r"kunit|mock|selftests", file), f"{m.name}: {file}")

    def test_they_apply_to_the_series(self):
        if not (LINUX.tree / ".git").exists():
            self.skipTest("there is no tree yet: make tree")
        with tempfile.TemporaryDirectory() as tmp:
            env = dict(os.environ, GIT_INDEX_FILE=f"{tmp}/index")
            LINUX.git("read-tree", "refs/sva/assembled", env=env)
            paths = sorted(mutants.MUTANTS.glob("*.patch"))

            def check(*paths):
                LINUX.git("apply", "--cached", "--check", *paths, env=env)
            try:
                check(*paths)           # each by itself
            except Failed:
                for path in paths:
                    with self.subTest(path.stem):
                        check(path)

    def test_every_program_of_the_guests_has_one_in_the_kernel(self):
        programs = {p.stem for p in (ROOT / "linux/tools/testing/selftests/iommu").glob("sva_*.c")}
        tried = {t.name.split(".")[0] for m in mutants.all_mutants() for t in m.tests
                 if t.kind == "guest" and any(re.match("drivers/iommu/|mm/", f) for f in m.files)}
        self.assertEqual(programs - {"sva_utils"} - tried, set())
