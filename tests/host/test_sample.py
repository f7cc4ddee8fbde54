# SPDX-License-Identifier: GPL-2.0-only
"""Mutants that operators make: what they are, which are taken, and that a run resumes."""

import contextlib
import functools
import math
import os
import re
import tempfile
import threading
import time
import unittest
from collections import Counter
from pathlib import Path
from unittest import mock

import mutate
import sample
import trial
from common import ROOT, Failed
from ktap import Case
from patchqueue import LINUX
from test import Verdict
from trial import Mutant, Sight, Test

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
    LARGE = [file_of("large.c", *(f"l{n}();" for n in range(50))),
             file_of("half.c", *(f"h{n}();" for n in range(13))), file_of("small.c", "s();", "t();")]

    def taken(self, count, files=FILES, discarded=lambda s: False):
        return Counter(f.name for f, s in sample.picks(files, count, discarded) if not discarded(s))

    def test_each_file_has_some_and_then_by_the_root_of_its_sites(self):
        self.assertEqual(self.taken(10, self.LARGE),
                         {"large.c": sample.LEAST, "half.c": sample.LEAST, "small.c": 2})
        many = self.taken(33, self.LARGE)
        self.assertEqual(many["small.c"], 3, "all of it")
        self.assertAlmostEqual(many["large.c"] / many["half.c"], 2, delta=0.2)

    def test_a_larger_sample_has_all_of_a_smaller_one(self):
        small, large = ({s.name for _, s in sample.picks(self.LARGE, n, lambda s: False)}
                        for n in (20, 30))
        self.assertEqual(len(small), 20)
        self.assertLess(small, large)

    def test_what_is_discarded_is_replaced(self):
        gone = {s.name for s in self.LARGE[0].order[:3]}
        for count in (10, 30):
            self.assertEqual(self.taken(count, self.LARGE, lambda s: s.name in gone),
                             self.taken(count, self.LARGE))

    def test_it_ends_when_there_are_no_more(self):
        taken = [s.name for _, s in sample.picks(self.FILES, 99, lambda s: False)]
        self.assertEqual(len(taken), len(set(taken)))
        self.assertEqual(len(taken), sum(len(f.order) for f in self.FILES))

    def test_seeds_give_orders(self):
        sites = mutate.sites("x.c", SOURCE)
        orders = [[s.key for s in sample.ordered(sites, seed)] for seed in "112"]
        self.assertEqual(orders[0], orders[1])
        self.assertNotEqual(orders[0], orders[2])
        self.assertEqual(sorted(orders[0]), sorted(s.key for s in sites))

    def test_the_order_prefers_no_operator(self):
        sites = mutate.sites("x.c", SOURCE)
        first = Counter(sample.ordered(sites, str(seed))[0].operator for seed in range(1000))
        there = Counter(s.operator for s in sites)
        for operator, count in there.items():
            self.assertAlmostEqual(first[operator] / 1000, count / len(sites), delta=0.05)

    def test_a_change_elsewhere_leaves_the_order(self):
        more = SOURCE.replace("\tp(x); q(x);\n", "\tp(x); q(x);\n\tz(x);\n")
        before = [s.key for s in sample.ordered(mutate.sites("x.c", SOURCE), "1")
                  if s.operator == "call"]
        after = [s.key for s in sample.ordered(mutate.sites("x.c", more), "1")
                 if s.operator == "call" and s.text != "z(x);"]
        self.assertEqual(before, after)


class Told(unittest.TestCase):
    """The table, and what of all mutants of a file it lets one expect."""
    def test_all_that_were_tried_leave_nothing_open(self):
        self.assertEqual(sample.interval(2, 2, 8, 8), (2 / 8, 2 / 8))
        self.assertEqual(sample.interval(1, 2, 8, 8), (1 / 8, 2 / 8))

    def test_few_of_many_leave_much_open(self):
        low, high = sample.interval(0, 0, 7, 369)
        self.assertEqual(low, 0)
        self.assertAlmostEqual(high, 0.35, delta=0.02)      # 0.65**7 is 5 %
        self.assertLessEqual(sample.interval(0, 0, 28, 369)[1], 0.1)
        self.assertGreater(sample.interval(0, 0, 27, 369)[1], 0.095)

    def test_it_holds_as_often_as_it_says(self):
        sites, tried, alive = 60, 12, 9
        holds = 0
        for survived in range(alive + 1):
            low, high = sample.interval(survived, survived, tried, sites)
            chance = (math.comb(alive, survived) * math.comb(sites - alive, tried - survived)
                      / math.comb(sites, tried))
            holds += chance * (low <= alive / sites <= high)
        self.assertGreaterEqual(holds, sample.CONFIDENCE)

    def test_the_undecided_are_counted_apart_but_not_as_caught(self):
        lines = sample.table_of({"a.c": (10, Counter(caught=6, survived=1, undecided=1, discarded=2)),
                                 "b.c": (5, Counter())})
        self.assertEqual(len(lines), 3, "no row without a mutant")
        self.assertEqual(lines[1].split(), "a.c 8 8 6 1 12 % 12-25 % 1 2".split())
        self.assertEqual(lines[2].split()[:2], ["all", "8"])

    def test_of_all_each_file_has_the_weight_of_its_mutants(self):
        lines = sample.table_of({"small.c": (10, Counter(survived=8, discarded=2)),
                                 "large.c": (192, Counter(caught=8)), "none.c": (50, Counter(discarded=9))})
        self.assertEqual(lines[-1].split(), "all 16 241 8 8 4 % - 11".split())
        self.assertEqual(sample.table_of({})[-1].split(), "all 0 0 0 0 - -".split())


class Seen(unittest.TestCase):
    """Only what fails twice in the same way was the mutant."""
    WORDS = {"case": Sight("s.c", "s/c: x", Test("kunit", "s.c")),
             "other": Sight("s.d", "s/d: y", Test("kunit", "s.d")),
             "end": Sight("sva_map", "sva_map: did not end"),
             "none": Sight(trial.NOTHING, trial.NOTHING), "ok": None}

    def sights(self, words):
        return [self.WORDS[w] if w in self.WORDS else Sight(trial.kind_of(w), w)
                for w in re.split(", ?", words)]

    def see(self, words, unreliable=()):
        sights = self.sights(words)
        with mock.patch.object(Test, "watched", autospec=True, side_effect=sights) as watched:
            state, sight = trial.see(Test("kunit", "s*"), "", "log", unreliable)
        self.assertEqual(watched.call_count, len(sights), words)
        self.asked = [(c.args[0].name, bool(c.kwargs.get("alone"))) for c in watched.call_args_list]
        return state

    def test_once_is_undecided(self):
        hang, bug, dead = "hung: no test ended in 20 s", "[ 1.0] BUG: sleeping function", "ended early"
        for words, state in (
                ("ok", "survived"), ("case, case", "caught"), ("case, ok, case", "caught"),
                ("case, ok, ok", "undecided"), ("case, ok, other", "undecided"),
                ("case, other, other", "caught"), (f"{hang}, {hang}", "caught"),
                (f"{hang}, ok, ok", "undecided"), (f"{hang}, {bug}, {bug}", "caught"),
                (f"{bug}, {bug}", "caught"), (f"{bug}, ok, ok", "undecided"),
                (f"{dead}, {dead}", "caught"), (f"{dead}, ok, ok", "undecided"),
                (f"hung: killed after 400 s, {hang}", "caught"), ("end, end", "caught"),
                ("[ 1.0] WARNING: CPU: 0, [ 2.0] BUG: x, ok", "undecided"),
                ("none", "undecided"), ("case, none, ok", "undecided"),
                ("case, none, none", "undecided")):
            self.assertEqual(self.see(words), state, words)

    def test_trouble_is_repeated_alone(self):
        self.see("case, ok, case")
        self.assertEqual(self.asked, [("s*", False), ("s.c", False), ("s*", True)])
        self.see("hung: x, hung: x")
        self.assertEqual(self.asked, [("s*", False), ("s*", True)])

    def test_one_that_fails_without_a_mutant_judges_none(self):
        self.assertEqual(self.see("case, case, case", ["s.c"]), "undecided")
        self.assertEqual(self.see("case, other, other", ["s.c"]), "caught")

    def test_kinds_of_trouble(self):
        for line, kind in (("hung: killed after 90 s", trial.HANG), ("ended early (log)", trial.DEAD),
                           ("qemu-system-x86_64: terminating on signal 15", trial.DEAD),
                           ("[ 1.2] BUG: KASAN: slab-use-after-free in f+0x1", "BUG: "),
                           ("INFO: task sh:12 blocked for more than", "INFO: task sh: blocked"),
                           ("DMAR: VT-d detected Invalidation Time-out Error: SID 1", "invalidations")):
            self.assertEqual(trial.kind_of(line), kind)

    def without(self, words, shared="tree"):
        with mock.patch.object(Test, "watched", side_effect=self.sights(words)), \
                mock.patch.object(trial, "say", self.said.append):
            return trial.unreliable(shared, Test("kunit", "s*"), "", "log")

    def test_a_failure_without_a_mutant_is_told_and_kept(self):
        self.said = []
        with verdicts():
            self.assertEqual(self.without("ok", "1"), [])
            self.assertEqual(self.said, [])
            self.assertEqual(self.without("case, ok", "2"), ["s.c"])
            self.assertEqual(self.without("", "2"), ["s.c"], "known")
            self.assertIn("s/c: x", self.said[0])
            self.assertEqual(self.without("hung: x, ok", "3"), [], "alone it may judge")
            for words in ("case, case", "case, other", "none, none"):
                with self.assertRaises(trial.Failed):
                    self.without(words, words)

    def test_turns(self):
        """One that runs alone waits for the others, and those that come later wait for it."""
        done, order = threading.Event(), []

        def take(name, alone, wait=None):
            with trial.turn(alone):
                order.append(name)
                if wait:
                    wait.wait(10)
        with tempfile.TemporaryDirectory() as tmp, mock.patch.object(trial, "BUILD", Path(tmp)):
            threads = []
            for args in (("a", False, done), ("b", False), ("alone", True), ("late", False)):
                threads.append(threading.Thread(target=take, args=args))
                threads[-1].start()
                time.sleep(0.05)
            self.assertEqual(order, ["a", "b"])
            done.set()
            for thread in threads:
                thread.join()
        self.assertEqual(order, ["a", "b", "alone", "late"])


@contextlib.contextmanager
def verdicts(directory=None):
    """Verdicts that are kept elsewhere."""
    with contextlib.ExitStack() as stack:
        home = Path(directory or stack.enter_context(tempfile.TemporaryDirectory()))
        for name, value in (("VERDICTS", home), ("BUILD", home),
                            ("key", lambda shared, t, text="", watched=False:
                             trial.digest(shared, str(t), text, str(watched)))):
            stack.enter_context(mock.patch.object(trial, name, value))
        yield


class Keys(unittest.TestCase):
    """Verdicts are made anew when what they are made from changes."""
    def test_code_that_decides_is_in_them(self):
        with mock.patch.object(trial.LINUX, "git", lambda *a: "tree"), \
                mock.patch.object(trial.qemu, "key", lambda: "qemu"):
            parts = trial.shared_parts("commit")
            names = {p.name for p in parts if isinstance(p, Path)}
            self.assertGreaterEqual(names, {"trial.py", "test.py", "ktap.py", "vm.py", "kernel.py",
                                            "selftests.py", "init", "iommufd-shim.h"})
            with mock.patch.object(trial.vm, "ACCEL", "other"):
                self.assertNotEqual(trial.shared_parts("commit"), parts)
            with mock.patch.object(trial.test, "expected_messages", lambda: {"sva_map": ["memory"]}):
                self.assertNotEqual(trial.shared_parts("commit"), parts)

    def test_a_test_has_its_own(self):
        t = Test("kunit", "a*")
        with mock.patch.object(trial, "compiler", lambda gcc: "gcc"):
            keys = {trial.key(["x"], t), trial.key(["y"], t), trial.key(["x"], t, "mutant"),
                    trial.key(["x"], t, watched=True), trial.key(["x"], Test("kunit", "b*"))}
            self.assertEqual(len(keys), 5)
            changed = {"kunit": dict(trial.suites()["kunit"], append="x")}
            with mock.patch.object(trial, "suites", lambda: changed):
                self.assertNotIn(trial.key(["x"], t), keys)

    def test_what_decides_stands_there(self):
        """So that a change of what is only chosen or told leaves the verdicts."""
        for function in (trial.see, trial.unreliable, trial.one_sees, trial.each_catches):
            self.assertEqual(function.__module__, "trial")


class Compiled(unittest.TestCase):
    """Which mutants are discarded, and which were not looked at."""
    def test_only_an_error_in_the_mutant_s_file_discards(self):
        file = "drivers/iommu/x.c"
        for said, refused in (
                (f"../{file}:12:3: error: 'y' undeclared\n", True),
                (f"{file}:12: error: 'y' undeclared\n", True),
                ("../include/linux/a.h:7:9: error: call to '__bad' declared\n"
                 f"../{file}:12:3: note: in expansion of macro 'B'\n", True),
                ("../include/linux/a.h:7:9: error: x\n../drivers/iommu/y.c:1:1: note: y\n", False),
                ("../drivers/iommu/y.c:12:3: error: 'y' undeclared\n", False),
                ("cc1: out of memory allocating 65536 bytes\n", False),
                (f"../{file}:12:3: fatal error: error writing to /tmp/c.s: No space left\n", False),
                (f"../{file}:1:1: fatal error: no space\n../{file}:2:2: note: x\n", False),
                (f"../{file}:12:3: internal compiler error: Segmentation fault\n", False),
                ("gcc: fatal error: Killed signal terminated program cc1\n", False),
                (f"../{file}:12:3: warning: unused\nmake: *** No space left on device\n", False)):
            self.assertEqual(trial.refused(said, [file]), refused, said)

    def test_a_build_that_failed_is_no_verdict(self):
        kernels = trial.Kernels("commit")
        kernels.objects["debug"] = {"drivers/iommu/x.o": ""}
        kernels.unmutated = lambda flavour: None
        mutant = Mutant("x", "+++ b/drivers/iommu/x.c\n", "", [])
        for log, error in (("../drivers/iommu/x.c:1:1: error: y\n", trial.Discarded),
                           ("cc1: out of memory\n", Failed)):
            with mock.patch.object(kernels, "make", side_effect=Failed("make failed")), \
                    mock.patch.object(trial, "read", lambda path: log), \
                    self.assertRaises(Failed) as caught:
                kernels.differs(mutant, "debug")
            self.assertIs(type(caught.exception), error)

    def test_programs_are_of_the_tree_that_the_kernels_are_of(self):
        made = []
        with mock.patch.object(trial.ktap, "parser", lambda: made.append("parser")), \
                mock.patch.object(trial, "programs", lambda arch: made.append(arch)), \
                mock.patch.object(trial.LINUX, "snapshot", lambda: f"after {len(made)}"):
            trial.ready("after 1", ())
            self.assertEqual(made, ["parser"])
            with self.assertRaises(Failed):
                trial.ready("after 1", ["arch"])
        self.assertEqual(made, ["parser", "parser", "arch"])

    def test_images_go_with_the_mutant(self):
        kernels, there = mock.Mock(plain={}), []
        mutants = [Mutant(name, "", "", []) for name in ("a", "broken", "none", "b")]

        def mutated(mutant):
            (trial.IMAGES / mutant.name).mkdir(parents=True)
            if mutant.name in ("broken", "none"):
                raise (trial.Discarded if mutant.name == "none" else Failed)("x")
            return {}
        kernels.mutated = mutated
        with tempfile.TemporaryDirectory() as tmp, \
                mock.patch.object(trial, "IMAGES", Path(tmp) / "images"), \
                mock.patch.object(trial, "BUILD", Path(tmp)):
            for mutant, state, *_ in trial.results(mutants, kernels, lambda *a: ("caught", "x")):
                there.append((mutant.name, state, (trial.IMAGES / mutant.name).exists()))
            self.assertFalse(trial.IMAGES.exists())
        self.assertEqual(sorted(there), [("a", "caught", False), ("b", "caught", False),
                                         ("broken", "failed", False), ("none", "discarded", False)])


class Run(unittest.TestCase):
    """A run with nothing of it built and booted."""
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.home, self.tried = Path(tmp.name), []
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(verdicts(self.home / "verdicts"))
        for module in (sample, trial):
            stack.enter_context(mock.patch.object(module, "say", lambda *a: None))

    FILES = [file_of("a.c", "seen();", "unseen();", "late();", "upset();"), file_of("b.c", "d();")]

    def sample(self, count=99, guests=False, shared="tree", interrupted=None, files=FILES, only=None):
        """Run one: b.c's mutants do not compile; who sees a.c's is said by their text."""
        s = sample.Sample.__new__(sample.Sample)
        s.count, s.guests, s.shared, s.kernels, s.without = count, guests, shared, None, {}
        s.files, s.wanted = files, [f for f in files if not only or f.name == only]
        s.home, s.sites, s.states = self.home / "mutants-1", {}, {}
        s.equivalents = {("a.c", "f", "call", "unseen();", 1): "nobody looks"} \
            if shared == "judged" else {}
        self.tried = []

        def watched(test, image, log, alone=False):
            if "again" not in log and "without" not in log:
                self.tried.append((test.suite, *image.split()))
            seen = image.startswith("seen();") or \
                image.startswith("late();") and test.suite == "sva" or \
                image.startswith("upset();") and "again" not in log
            return Sight("a case", "a case") if seen else None

        def results(mutants, kernels, attempt, at_once):
            for mutant in mutants:
                if len(self.tried) == interrupted:
                    return
                if "d();" in mutant.text:
                    self.tried.append(("build", mutant.name))
                    yield mutant, "discarded", "does not compile", 0
                    continue
                text = re.search(r"(?m)^-\t(.*)", mutant.text)[1]
                yield mutant, *attempt(mutant, {"debug": ""},
                                         {"debug": f"{text} {mutant.name}"}), 1
        with mock.patch.object(trial, "results", results), \
                mock.patch.object(Test, "watched", watched):
            s.run()
            tried = len(s.states)
            s.deepen()
        self.last, self.more = s, len(s.states) - tried
        return {s.sites[n].text: state for n, state in s.states.items() if "swap" not in n}

    def patches(self):
        return {p.stem for p in (self.home / "mutants-1").glob("*.patch")}

    def test_what_is_found(self):
        self.assertEqual(self.sample(), {"seen();": "caught", "unseen();": "survived", "d();": "discarded",
                                         "late();": "survived", "upset();": "undecided"})

    def test_what_is_known_is_not_tried_again(self):
        first = self.sample()
        self.assertTrue(self.tried)
        self.assertEqual(self.sample(), first)
        self.assertEqual({text for _, text, _ in self.tried}, {"upset();"}, "but what is undecided is")
        self.assertEqual(self.sample(shared="other tree"), first)
        self.assertIn("seen();", {t[1] for t in self.tried})

    def test_an_interrupted_run_is_resumed(self):
        self.sample(interrupted=2)
        self.assertEqual(len(self.tried), 2)
        before = {t for t in self.tried if t[1] != "upset();"}
        found = self.sample()
        self.assertFalse(before & set(self.tried))
        self.setUp()
        self.assertEqual(self.sample(), found)

    def test_the_case_that_saw_it_runs_first(self):
        t = Test("kunit", "a_*")
        mutant = Mutant("x", "", "", [t])
        asked = []

        def watched(test, image, log, alone=False):
            if "again" not in log and "without" not in log:
                asked.append(test.name)
            return Sight("a_b.c", "a_b/c: x", Test("kunit", "a_b.c")) \
                if "without" not in log and test.name != self.blind else None
        with mock.patch.object(Test, "watched", watched):
            for self.blind, tree in ((None, "1"), (None, "2")):
                state, why = trial.one_sees(tree, mutant, {"debug": ""}, {"debug": ""})
                self.assertEqual(state, "caught")
        self.assertEqual(asked, ["a_*", "a_b.c"])

    def test_the_case_that_saw_it_is_asked_for_its_own_test_only(self):
        tests = [Test("sva", "sva_map"), Test("sva", "sva_exit")]
        mutant = Mutant("x", "", "", tests)
        asked = []

        def watched(test, image, log, alone=False):
            if "again" not in log and "without" not in log:
                asked.append(test.name)
            return Sight("sva_exit.f.t", "why", Test("sva", "sva_exit.f.t")) \
                if "without" not in log and test.name.startswith("sva_exit") else None
        with mock.patch.object(Test, "watched", watched):
            for tree in "12":
                state, why = trial.one_sees(tree, mutant, {"debug": ""}, {"debug": ""})
                self.assertEqual((state, why), ("caught", "sva sva_exit: why"))
        self.assertEqual(asked, ["sva_map", "sva_exit", "sva_map", "sva_exit.f.t"])

    def test_verdicts_name_a_case(self):
        for suite, name, case in (("kunit", "s/c/p", "s.c"), ("kunit", "s", None),
                                  ("sva", "sva_map: sva_map.pri.a", "sva_map.sva_map.pri.a"),
                                  ("sva", "sva_map", None)):
            found = Test(suite, "*").case(name)
            self.assertEqual(found and found.name, case, name)

    def test_guests_try_survivors_only(self):
        self.sample()
        after = self.sample(guests=True)
        self.assertEqual({t[1] for t in self.tried if t[0] == "kunit"}, {"upset();"})
        self.assertNotIn(("sva", "seen();"), [t[:2] for t in self.tried])
        self.assertEqual(after["late();"], "caught")
        self.assertEqual(self.sample(), after, "what a guest saw is seen")

    def test_survivors_are_written_as_mutants(self):
        self.sample()
        path = next(p for p in (self.home / "mutants-1").glob("a-call-*.patch") if "+\n" in p.read_text())
        text = path.read_text()
        self.assertIn('file = "a.c"\nfunction = "f"\noperator = "call"\n', text)
        self.assertIn("\nnumber = 1\n", text)
        self.assertRegex(text, r"\nNot caught by: kunit a\*|\nUndecided: not again")
        self.assertIn("\ndiff --git a/a.c b/a.c\n", text)

    def test_survivors_stay_until_they_are_seen(self):
        self.sample()
        all_of_it = self.patches()
        for less in (dict(count=1), dict(only="b.c"), dict(count=1, only="a.c")):
            self.sample(**less)
            self.assertEqual(self.patches(), all_of_it, less)
        self.sample(guests=True)
        self.assertLess(self.patches(), all_of_it)
        self.sample(files=[file_of("a.c", "unseen();")])
        self.assertEqual(len(self.patches()), 1, "lines that are gone")

    def test_a_file_is_gone_on_with(self):
        few = self.sample(count=2)
        self.sample(only="a.c")
        self.assertNotIn("build", [t[0] for t in self.tried])
        found = self.sample(count=2)
        self.assertGreater(len(found), len(few))
        self.assertTrue(self.more)
        table = self.last.report()
        self.assertTrue(any(line.startswith("a.c") for line in table))

    def test_what_is_undecided_hides_nothing_behind_it(self):
        found = {"seen();": "caught", "unseen();": "survived", "late();": "survived", "upset();": "undecided"}
        self.assertEqual(self.sample(only="a.c"), found)
        self.assertEqual(self.sample(count=1), found)
        self.assertEqual(self.sample(count=0, shared="other tree"), {}, "patches of another tree say nothing")
        guests = self.sample(count=0, guests=True)
        self.assertEqual(guests, dict(found, **{"unseen();": "undecided", "late();": "undecided"}))

    def test_what_is_discarded_is_so_in_these_kernels(self):
        self.sample(count=0)
        file = file_of("a.c", "seen();")
        file.guests = [Test("sva-kasan", "sva_bind")]
        keys = [self.last.discard_key(file.mutant(file.order[0], guests)) for guests in (False, True)]
        self.assertNotEqual(*keys)

    def test_equivalent_ones_are_counted_apart(self):
        self.assertEqual(self.sample(shared="judged")["unseen();"], "equivalent")

    def test_one_of_those_that_are_alike_is_judged(self):
        files = [file_of("a.c", "unseen();", "seen();", "unseen();")]
        self.sample(files=files, shared="judged")
        found = {s.number: self.last.states[n] for n, s in self.last.sites.items()
                 if s.text == "unseen();"}
        self.assertEqual(found, {1: "equivalent", 2: "survived"})


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

    def test_a_case_of_kunit_says_what_it_waits_for(self):
        waits = [int(n) for p in (ROOT / "linux").rglob("*") if re.search("kunit|mock", p.name)
                 for n in re.findall(r"TIMEOUT\s+\((\d+) \* HZ", p.read_text())]
        self.assertGreater(trial.QUIET["kunit"], max(waits))

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
        torn = [Case("output", "not ok", "torn")]
        for line, cases, mark, why in (
                ("BUG: sleeping", broken, "BUG: ", "BUG: sleeping"), ("", broken, "hung", "hung: x"),
                ("not ok 1 b", broken, "suite_a.unnamed", "suite_a/unnamed: ?"),
                ("", [Case("suite_a/b", "not ok")], "suite_a.b", "suite_a/b"),
                ("", [Case("suite_a/a", "ok"), *torn], "output", "torn"),
                # What saw the mutant in another tree need not be in this one.
                ("", torn, trial.NOTHING, trial.NOTHING), ("", [], trial.NOTHING, trial.NOTHING)):
            sight = Test("kunit", "suite_*").sight(Verdict(cases), line)
            self.assertEqual(sight[:2], (mark, why))
        self.assertIsNone(Test("kunit", "suite_*").sight(Verdict([Case("suite_a/b", "ok")])))

    def test_what_was_read_is_not_read_again(self):
        watch, lines = trial.Watch(60), []
        watch.line = lines.append
        with tempfile.NamedTemporaryFile("wb") as f:
            for n in range(3):
                f.write(f"    ok {n} \u00e4\r\n".encode() + b"\xff\r\n")
                f.flush()
                watch.over(f.name, os.getpid())
        self.assertEqual(len(lines), 6)

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
        there = Counter(tuple(sample.identity(s).values()) for f in self.files()[0] for s in f.order)
        self.assertEqual(set(there.values()), {1}, "each site has an identity of its own")
        for known in sample.equivalents():
            self.assertIn(known, there)

    def test_names_are_unique(self):
        names = Counter(s.name for f in self.files()[0] for s in f.order)
        self.assertEqual(set(names.values()), {1})

    def test_of_those_that_are_alike_one_is_named(self):
        alike = Counter(tuple(sample.identity(s).values())[:-1]
                        for f in self.files()[0] for s in f.order)
        for entry in sample.tomllib.loads(sample.read(sample.EQUIVALENT)).get("mutant", []):
            key = tuple(entry[k] for k in ("file", "function", "operator", "text"))
            self.assertTrue(alike[key] == 1 or "number" in entry, f"number = ? of {entry}")
