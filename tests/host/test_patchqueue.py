# SPDX-License-Identifier: GPL-2.0-only
"""The patch queue on a base of three small files."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import patchqueue
from common import Failed
from patchqueue import Queue

AUTHOR = ["-c", "user.name=SVA series developers", "-c", "user.email=sva-series@localhost"]
BASE = {"a.c": "".join(f"line {n}\n" for n in range(40)), "Makefile": "obj-y += a.o\n",
        "dir/b.h": "#define B 1\n"}


class Sandbox(Queue):
    """A queue whose base is a directory of the test's."""

    def __init__(self, home):
        self.home, self.base_files, self.version = home, dict(BASE), "1.0"
        super().__init__("toy", "linux", self.tarball, self.write_base, lambda tree: "toy base")
        self.patches, self.files, self.tree = home / "patches", home / "linux", home / "build/toy"
        self.patches.mkdir()
        self.files.mkdir()
        (self.patches / "series").write_text("# the toy's series\n")

    def tarball(self):
        return self.home / f"toy-{self.version}.tar"

    def write_base(self, archive, into):
        for name, text in self.base_files.items():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_text(text)

    def edit(self, message, **files):
        for name, text in files.items():
            path = self.tree / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git(*AUTHOR, "commit", "-q", "-m", message)


class PatchQueue(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        home = Path(self.tmp.name)
        self.old = patchqueue.BUILD
        patchqueue.BUILD = home / "build"
        self.addCleanup(setattr, patchqueue, "BUILD", self.old)
        self.queue = Sandbox(home)
        self.out = io.StringIO()
        out = contextlib.redirect_stdout(self.out)
        out.__enter__()
        self.addCleanup(out.__exit__, None, None, None)

    def two_commits(self):
        q = self.queue
        q.assemble()
        q.edit("toy: change a line\n\nBecause.\n\nSection: core",
               a_DOT_c=BASE["a.c"].replace("line 20\n", "line twenty\n"))
        q.edit("toy: add a file", new__n_DOT_c="int n;\n", Makefile=BASE["Makefile"] + "obj-y += n.o\n")
        q.refresh()

    def test_round_trip(self):
        self.two_commits()
        q = self.queue
        series = (q.patches / "series").read_text().split("\n")
        self.assertIn("core/0001-toy-change-a-line.patch", series)
        self.assertIn("core/0002-toy-add-a-file.patch new/n.c", series)
        self.assertEqual((q.files / "new/n.c").read_text(), "int n;\n")
        self.assertNotIn("new/n.c", (q.patches / "core/0002-toy-add-a-file.patch").read_text())
        before = {p: p.read_text() for p in q.patches.rglob("*") if p.is_file()}
        head = q.git("rev-parse", "HEAD")
        patchqueue.remove(q.tree)
        (patchqueue.BUILD / ".toy.key").unlink()
        q.assemble()
        self.assertEqual(q.git("rev-parse", "HEAD"), head)
        q.refresh()
        self.assertEqual(before, {p: p.read_text() for p in q.patches.rglob("*") if p.is_file()})

    def test_same_queue_same_ids(self):
        self.two_commits()
        self.assertEqual(self.queue.commits(), self.queue.commits())

    def test_change_of_a_new_file_folds_into_its_step(self):
        self.two_commits()
        q = self.queue
        q.edit("toy: later", new__n_DOT_c="int n = 1;\n", dir__b_DOT_h="#define B 2\n")
        q.refresh()
        self.assertEqual((q.files / "new/n.c").read_text(), "int n = 1;\n")
        self.assertEqual(q.git("show", "HEAD~1:new/n.c"), "int n = 1;")
        self.assertEqual(len(q.steps()), 3)

    def test_edit_of_new_files_alone_is_no_patch(self):
        self.two_commits()
        self.queue.edit("toy: only ours", new__n_DOT_c="int n = 2;\n")
        self.queue.refresh()
        self.assertEqual(len(self.queue.steps()), 2)
        self.assertEqual(self.queue.git("show", "HEAD:new/n.c"), "int n = 2;")

    def test_new_commit_takes_the_section_before_it(self):
        self.two_commits()
        self.queue.edit("toy: third", dir__b_DOT_h="#define B 3\n")
        self.queue.refresh()
        self.assertEqual(self.queue.steps()[2].patch, "core/0003-toy-third.patch")

    def test_untouched_files_keep_their_time(self):
        self.two_commits()
        q = self.queue
        before = (q.tree / "a.c").stat().st_mtime_ns
        patch = q.patches / "core/0002-toy-add-a-file.patch"
        patch.write_text(patch.read_text().replace("n.o", "nn.o"))
        q.assemble()
        self.assertEqual((q.tree / "a.c").stat().st_mtime_ns, before)
        self.assertIn("nn.o", (q.tree / "Makefile").read_text())

    def test_edits_are_never_lost(self):
        self.two_commits()
        q = self.queue
        (q.tree / "a.c").write_text("mine\n")
        (q.files / "new/n.c").write_text("int m;\n")
        with self.assertRaisesRegex(Failed, "make refresh"):
            q.assemble()
        self.assertEqual((q.tree / "a.c").read_text(), "mine\n")
        with self.assertRaisesRegex(Failed, "uncommitted"):
            q.refresh()

    def test_new_files_are_work_too(self):
        self.two_commits()
        q = self.queue
        (q.tree / "new.c").write_text("mine\n")
        for lost in (lambda: q.refuse_edits("x", removed=True), q.refresh):
            with self.assertRaisesRegex(Failed, "uncommitted"):
                lost()
        q.refuse_edits("a new file is in nobody's way")
        (q.tree / "new.c").rename(q.tree / "new.pyc")
        q.refuse_edits("x", removed=True)

    def test_a_snapshot_has_all_that_is_there(self):
        self.two_commits()
        q = self.queue
        head = q.git("rev-parse", "HEAD")
        self.assertEqual(q.snapshot(), head)
        (q.tree / "a.c").write_text("mine\n")
        (q.tree / "new.c").write_text("new\n")
        (q.tree / "x.pyc").write_text("python's\n")
        before = q.git("status", "--porcelain")
        commit = q.snapshot()
        self.assertEqual(q.git("diff", "--name-only", head, commit).split(), ["a.c", "new.c"])
        self.assertEqual(q.git("show", f"{commit}:new.c"), "new")
        self.assertEqual(q.snapshot(), commit, "the same content, the same commit")
        self.assertEqual((q.git("status", "--porcelain"), q.git("rev-parse", "HEAD")), (before, head))

    def test_stray_patch_and_stray_file_are_named(self):
        self.two_commits()
        (self.queue.patches / "core/0009-lost.patch").write_text("x")
        with self.assertRaisesRegex(Failed, "core/0009-lost.patch"):
            self.queue.steps()
        (self.queue.patches / "core/0009-lost.patch").unlink()
        (self.queue.files / "stray.c").write_text("x")
        with self.assertRaisesRegex(Failed, "stray.c"):
            self.queue.steps()

    def test_comments_of_the_series_stay(self):
        old = "# all\n\n# one\na/0001-x.patch\n\n# two\nb/0001-y.patch\n# three\na/0002-z.patch\n"
        self.assertEqual(patchqueue.series_text(old, [
            "a/0001-x.patch", "b/0001-y.patch f", "b/0002-w.patch", "a/0002-z.patch"]),
            old.replace("y.patch\n", "y.patch f\nb/0002-w.patch\n"))

    def test_missing_file_is_named_with_its_line(self):
        (self.queue.patches / "series").write_text("# c\nx/0001-a.patch\n")
        with self.assertRaisesRegex(Failed, r"series:2: no such file: .*0001-a.patch"):
            self.queue.steps()

    def test_newer_base_applies_with_less_context_and_says_so(self):
        self.two_commits()
        q = self.queue
        q.base_files["a.c"] = q.base_files["a.c"].replace("line 17\n", "line seventeen\n")
        q.version = "1.1"
        q.assemble()
        self.assertIn("line twenty", (q.tree / "a.c").read_text())
        self.assertIn("0001-toy-change-a-line.patch applies only with", self.out.getvalue())

    def test_newer_base_that_conflicts_names_the_patch(self):
        self.two_commits()
        q = self.queue
        q.base_files["a.c"] = q.base_files["a.c"].replace("line 20\n", "line XX\n")
        q.version = "1.1"
        with self.assertRaisesRegex(Failed, "0001-toy-change-a-line.patch does not apply to toy"):
            q.assemble()

    def test_interrupted_unpack_is_not_trusted(self):
        q = self.queue
        write = q.write_base

        def interrupted(archive, into):
            write(archive, into)
            raise KeyboardInterrupt
        q.unpack = interrupted
        with self.assertRaises(KeyboardInterrupt):
            q.assemble()
        self.assertFalse(q.tree.exists())
        q.unpack = write
        q.assemble()
        self.assertEqual((q.tree / "a.c").read_text(), BASE["a.c"])
