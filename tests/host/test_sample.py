# SPDX-License-Identifier: GPL-2.0-only
"""Mutants that operators make: what they are, which are taken, and that a run resumes."""

import functools
import os
import re
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from unittest import mock

import mutate
import sample
import trial
from ktap import Case
from patchqueue import LINUX
from test import Verdict
from trial import Mutant, Test

SOURCE = """\
/* f(1); */
static int f(struct x *x,
	     int n)
{
	int ret = g(n);
	const char *s = "h(2);";

	x->n = n;
	h(x, "; {");
	if (n < 1 &&
	    !x->open)
		k(x);
	while (x->a || x->b)
		x->a--;
	for_each_x(x) {
		ret = l(x);
		if (ret) {
			undo(x);
			return ret;
		}
	}
	switch (n) {
	case 1:
		return ERR_PTR(-EINVAL);
	default:
		pr_info("m(3);");
	}
	mutex_lock(&x->lock);
	p(x); q(x);
	mutex_unlock(&x->lock);
	if (!ret)
		goto out;
	smp_mb();
	p(n + 1);
	return -ENOMEM;
out:
	r(x);
	return 0;
}

static const struct y y = { .f = f };
"""


def made(operator, source=SOURCE, lines=None):
    return [s for s in mutate.sites("x.c", source, lines) if s.operator == operator]


def texts(operator, source=SOURCE):
    return [s.text for s in made(operator, source)]


class Operators(unittest.TestCase):
    def test_calls_that_matter_are_left_out(self):
        self.assertEqual(texts("call"), ['h(x, "; {");', "k(x);", "p(x);", "q(x);",
                                         "mutex_unlock(&x->lock);", "p(n + 1);"])

    def test_where_an_error_is_undone(self):
        self.assertEqual(texts("rollback"), ["undo(x);", "r(x);"])

    def test_assignments_but_no_declarations(self):
        self.assertEqual(texts("assignment"), ["x->n = n;", "x->a--;", "ret = l(x);"])

    def test_neighbours_change_places(self):
        self.assertEqual(texts("swap"), ['x->n = n; h(x, "; {");', "p(x); q(x);"])

    def test_conditions(self):
        self.assertEqual(texts("negate"), ["if (n < 1 && !x->open)", "if (ret)", "if (!ret)"])
        self.assertEqual([s.new for s in made("negate")], ["!(n < 1 &&\n\t    !x->open)", "!ret",
                                                           "ret"])
        self.assertEqual([" ".join(s.new.split()) for s in made("operand")],
                         ["!x->open", "n < 1", "x->b", "x->a"])

    def test_off_by_one(self):
        self.assertEqual([(s.text, s.new) for s in made("bound")],
                         [("if (n [<] 1 &&", "<="), ("p(n[+ 1]);", "")])

    def test_errors_are_not_returned(self):
        self.assertEqual([(s.text, s.new) for s in made("error")],
                         [("return ret;", "return 0;"),
                          ("return ERR_PTR(-EINVAL);", "return NULL;"),
                          ("return -ENOMEM;", "return 0;")])

    def test_every_operator_is_described(self):
        self.assertEqual(set(mutate.MAKERS), set(mutate.OPERATORS))

    def test_lines_stay_where_they_are(self):
        for s in mutate.sites("x.c", SOURCE):
            new = SOURCE[:s.start] + s.new + SOURCE[s.end:]
            self.assertEqual(new.count("\n"), SOURCE.count("\n"), s.about)
            self.assertNotEqual(new, SOURCE, s.about)
            self.assertIn(new.splitlines()[-1], SOURCE)

    def test_what_an_if_is_about_stays_a_statement(self):
        site = next(s for s in made("call") if s.text == "k(x);")
        self.assertEqual(site.new, "{ }")

    def test_only_lines_of_the_series(self):
        line = SOURCE.splitlines().index("\tx->n = n;") + 1
        found = mutate.sites("x.c", SOURCE, {line})
        self.assertEqual([(s.operator, s.text) for s in found], [("assignment", "x->n = n;")])

    def test_those_that_are_alike_are_told_apart(self):
        text = "int f(void)\n{\n\tg();\n\th();\n\tg();\n}\n"
        keys = [s.key for s in made("call", text)]
        self.assertEqual(len(set(keys)), 3)
        moved = [s.key for s in made("call", "int e;\n\n" + text)]
        self.assertEqual(keys, moved)

    def test_a_patch_applies(self):
        with tempfile.TemporaryDirectory() as tmp:
            file = Path(tmp) / "x.c"
            for site in {s.operator: s for s in mutate.sites("x.c", SOURCE)}.values():
                file.write_text(SOURCE)
                trial.output("git", "apply", "-", cwd=tmp, input=site.patch(SOURCE))
                self.assertNotEqual(file.read_text(), SOURCE)


def file_of(name, *texts):
    body = "".join(f"\t{t}\n" for t in texts)
    source = f"int f(void)\n{{\n{body}}}\n"
    return sample.File(name, source, [Test("kunit", "a*")], [Test("sva", "sva_map")],
                       sample.ordered(mutate.sites(name, source), "1"))


class Taken(unittest.TestCase):
    FILES = [file_of("a.c", "a();", "b();", "c();"), file_of("b.c", "d();"), file_of("c.c", "e();")]

    def test_files_take_turns(self):
        taken = [f.name for f, _ in sample.picks(self.FILES, 4, lambda s: False)]
        self.assertEqual(taken, ["a.c", "b.c", "c.c", "a.c"])

    def test_what_is_discarded_is_replaced(self):
        taken = [f.name for f, s in sample.picks(self.FILES, 3, lambda s: s.text == "d();")]
        self.assertEqual(taken, ["a.c", "b.c", "c.c", "a.c"])

    def test_it_ends_when_there_are_no_more(self):
        taken = [s.name for _, s in sample.picks(self.FILES, 99, lambda s: False)]
        self.assertEqual(len(taken), len(set(taken)))
        self.assertEqual(len(taken), sum(len(f.order) for f in self.FILES))

    def test_a_seed_orders_them(self):
        sites = mutate.sites("x.c", SOURCE)
        orders = [[s.key for s in sample.ordered(sites, seed)] for seed in ("1", "1", "2")]
        self.assertEqual(orders[0], orders[1])
        self.assertNotEqual(orders[0], orders[2])
        self.assertEqual(sorted(orders[0]), sorted(s.key for s in sites))

    def test_all_operators_come_before_one_comes_twice(self):
        order = [s.operator for s in sample.ordered(mutate.sites("x.c", SOURCE), "1")]
        self.assertEqual(set(order[:len(set(order))]), set(order))

    def test_a_change_elsewhere_leaves_the_order(self):
        more = SOURCE.replace("\tp(x); q(x);\n", "\tp(x); q(x);\n\tz(x);\n")
        before = [s.key for s in sample.ordered(mutate.sites("x.c", SOURCE), "1")
                  if s.operator == "call"]
        after = [s.key for s in sample.ordered(mutate.sites("x.c", more), "1")
                 if s.operator == "call" and s.text != "z(x);"]
        self.assertEqual(before, after)


class Run(unittest.TestCase):
    """A run with nothing of it built and booted."""
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.home, self.tried = Path(tmp.name), []
        for patch in (mock.patch.object(sample, "VERDICTS", self.home / "verdicts"),
                      mock.patch.object(trial, "key", lambda shared, t, text="":
                                        trial.digest(shared, str(t), text)),
                      mock.patch.object(sample, "passed", lambda key: True),
                      mock.patch.object(sample, "say", lambda *a: None)):
            patch.start()
            self.addCleanup(patch.stop)

    def sample(self, guests=False, shared="tree", interrupted=None):
        """Run one: b.c's mutants do not compile; who sees a.c's is said by their text."""
        s = sample.Sample.__new__(sample.Sample)
        s.count, s.guests, s.shared, s.kernels = 4, guests, shared, None
        s.files = [file_of("a.c", "seen();", "unseen();", "late();"), file_of("b.c", "d();")]
        s.home, s.sites, s.states = self.home / "mutants-1", {}, {}
        s.equivalents = {("a.c", "f", "call", "unseen();"): "nobody looks"} \
            if shared == "judged" else {}
        self.tried = []

        def watched(test, image, log):
            if not log.endswith("again"):
                self.tried.append((test.suite, image))
            return "a case" if "seen();" == image or "late();" == image and test.suite == "sva" \
                else None

        def results(mutants, kernels, attempt, at_once):
            for mutant in mutants:
                if len(self.tried) == interrupted:
                    return
                if "d();" in mutant.text:
                    self.tried.append(("build", mutant.name))
                    yield mutant, "discarded", "does not compile", 0
                    continue
                text = re.search(r"(?m)^-\t(.*)", mutant.text)[1]
                yield mutant, *attempt(mutant, {"debug": ""}, {"debug": text}), 1
        with mock.patch.object(trial, "results", results), \
                mock.patch.object(Test, "watched", watched):
            s.run()
        return Counter(state for name, state in s.states.items() if "swap" not in name)

    def test_what_is_found(self):
        count = self.sample()
        self.assertEqual(count["caught"] + count["survived"], 4 - self.swaps())
        self.assertEqual(count["discarded"], 1)

    def swaps(self):
        return sum(n.startswith("a-swap") for n in
                   [p.stem for p in (self.home / "mutants-1").iterdir()])

    def test_what_is_known_is_not_tried_again(self):
        first = self.sample()
        self.assertTrue(self.tried)
        self.assertEqual(self.sample(), first)
        self.assertEqual(self.tried, [])
        self.assertEqual(self.sample(shared="other tree"), first)
        self.assertTrue(self.tried)

    def test_an_interrupted_run_is_resumed(self):
        self.sample(interrupted=2)
        self.assertEqual(len(self.tried), 2)
        self.sample()
        rest = list(self.tried)
        self.setUp()
        self.sample()
        self.assertEqual(len(rest), len(self.tried) - 2)

    def test_the_case_that_saw_it_runs_first(self):
        t = Test("kunit", "a_*")
        mutant = Mutant("x", "", "", [t])
        asked = []

        def watched(test, image, log):
            if not log.endswith("again"):
                asked.append(test.name)
            return "a_suite/case/param: Expected" if test.name != self.blind else None
        with mock.patch.object(Test, "watched", watched):
            for self.blind, tree in ((None, "1"), (None, "2"), ("a_suite.case", "3")):
                state, why = sample.attempt(tree, mutant, {"debug": ""}, {"debug": ""})
                self.assertEqual(state, "caught")
        self.assertEqual(asked, ["a_*", "a_suite.case", "a_suite.case", "a_*"])

    def test_what_fails_once_only_does_not_count(self):
        for said, why in ((["s/c: x", None, None], ""), (["s/c: x", None, "s/d: y"], "s/d: y"),
                          (["s/c: x", "s/c: x"], "s/c: x"), ([None], ""), (["hung: x"], "hung: x")):
            with mock.patch.object(Test, "watched", side_effect=said) as watched:
                self.assertEqual(sample.see(Mutant("x", "", "", []), Test("kunit", "s*"), "", ""), why)
                self.assertEqual(watched.call_count, len(said))

    def test_a_test_has_some_tries_without_a_mutant(self):
        for said, why in (([None], None), (["x", None], None), (["x"] * sample.TRIES, "x")):
            with mock.patch.object(Test, "watched", side_effect=said), \
                    mock.patch.object(sample, "passed", lambda key: False):
                self.assertEqual(sample.unsound(Test("kunit", "s*"), "key", "", ""), why)

    def test_verdicts_name_a_case(self):
        for suite, why, case in (("kunit", "s/c/p: Expected x", "s.c"), ("kunit", "hung: nothing", None),
                                 ("sva", "sva_map: sva_map.pri.a: x", "sva_map.sva_map.pri.a"),
                                 ("sva", "[ 1.0] BUG: x", None)):
            found = sample.case_of(Test(suite, "*"), why)
            self.assertEqual(found and found.name, case, why)

    def test_guests_try_survivors_only(self):
        before = self.sample()
        after = self.sample(guests=True)
        self.assertEqual({suite for suite, _ in self.tried}, {"sva"})
        self.assertNotIn(("sva", "seen();"), self.tried)
        self.assertEqual(after["survived"], before["survived"] - 1)

    def test_survivors_are_written_as_mutants(self):
        self.sample()
        path = next((self.home / "mutants-1").glob("a-call-*.patch"))
        text = path.read_text()
        self.assertIn('file = "a.c"\nfunction = "f"\noperator = "call"\n', text)
        self.assertIn("Not caught by: kunit a*", text)
        self.assertIn("\ndiff --git a/a.c b/a.c\n", text)

    def test_equivalent_ones_are_counted_apart(self):
        count = self.sample(shared="judged")
        self.assertEqual(count["equivalent"], 1)


class Watched(unittest.TestCase):
    def watch(self, text, quiet=60):
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(text)
            f.flush()
            return trial.Watch(quiet).over(f.name, os.getpid())

    def test_a_guest_ends_at_the_first_failure(self):
        self.assertIsNone(self.watch("ok 1 a\n    ok 2 b\n"))
        self.assertIn("not ok 2 b", self.watch("ok 1 a\n    not ok 2 b\n"))
        self.assertIn("BUG: ", self.watch("[1.0] BUG: sleeping function\n"))
        self.assertIsNone(self.watch("[1.0] BUG: slee"), "half a line")

    def test_silence_is_a_hang(self):
        self.assertIn("hung", self.watch("", quiet=-1))
        self.assertIsNone(self.watch("ok 1 a\n", quiet=60))

    def test_waiting_for_a_cpu_is_none(self):
        for waits, hung in ((0, True), (70, False)):
            watch = trial.Watch(60)
            with mock.patch.object(trial.time, "monotonic", side_effect=[1000, 1100]), \
                    mock.patch.object(trial, "waited", side_effect=[5, 5 + waits]):
                self.assertIsNone(watch.over("/nonexistent", 1))
                self.assertEqual(bool(watch.over("/nonexistent", 1)), hung)

    def test_one_that_only_talks_hangs(self):
        watch = trial.Watch(60)
        for spent, line, heard in ((1, "boots", 1), (5, "KTAP version 1", 5), (7, "error", 5),
                                   (9, "    ok 1 a", 9), (30, "error", 9)):
            watch.spent = spent
            watch.line(f"[ 1.0] {line}")
            self.assertEqual(watch.heard, heard, line)

    def test_trouble_is_told_before_what_it_does_to_the_results(self):
        broken = [Case("suite_a/unnamed", "not ok", "?"), Case("kernel log", "not ok", "hung: x")]
        for line, cases, why in (("BUG: sleeping", broken, "BUG: sleeping"), ("", broken, "hung: x"),
                                 ("not ok 1 b", broken, "suite_a/unnamed: ?"),
                                 ("", [Case("suite_a/b", "not ok")], "suite_a/b"),
                                 ("", [Case("suite_a/b", "ok")], None), ("", [], trial.NOTHING)):
            watch = trial.Watch(60)
            watch.line(line)
            with mock.patch.object(trial, "Watch", return_value=watch), \
                    mock.patch.object(Test, "run", return_value=Verdict(cases)):
                self.assertEqual(Test("kunit", "suite_*").watched("image", "log"), why)

    def test_lines_that_come_in_pieces(self):
        watch = trial.Watch(60)
        with tempfile.NamedTemporaryFile("w") as f:
            for piece in ("ok 1 \u00e4\n  no", "t ok 2 b"):
                f.write(piece)
                f.flush()
                self.assertIsNone(watch.over(f.name, 0))
            f.write("\n")
            f.flush()
            self.assertIn("not ok 2 b", watch.over(f.name, 0))

    def test_a_pattern_names_several_cases(self):
        t = Test("kunit", "suite_*")
        verdict = Verdict([Case("suite_a/x", "ok"), Case("other/x", "ok")])
        self.assertEqual(t.cases(verdict, "ok"), ["suite_a.x"])
        self.assertIsNone(t.passes(verdict))


class Table(unittest.TestCase):
    def test_every_entry_names_suites(self):
        for entry in sample.table()["files"]:
            for t in sample.tests_of(entry["kunit"]):
                self.assertEqual(t.kind, "kunit")
            for t in sample.tests_of(entry["guests"]):
                self.assertIn(t.kind, ("guest", "kunit"))

    @staticmethod
    @functools.cache
    def files():
        if not (LINUX.tree / ".git").exists():
            raise unittest.SkipTest("there is no tree yet: make tree")
        return sample.files_of("refs/sva/assembled", "1")

    def test_every_file_has_tests_or_a_reason(self):
        files, without = self.files()
        self.assertGreater(len(files), 10)
        for name, why in without.items():
            self.assertNotIn("no tests in", why, name)

    def test_equivalent_ones_still_exist(self):
        there = {(s.file, s.function, s.operator, s.text) for f in self.files()[0] for s in f.order}
        for known in sample.equivalents():
            self.assertIn(known, there)
