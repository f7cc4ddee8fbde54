# SPDX-License-Identifier: GPL-2.0-only
"""make bench: what a run of some of it keeps of the last saved one, and what it measures on."""

import re
import unittest

import bench
import kernel
from common import ROOT, read
from patchqueue import LINUX


class Parts(unittest.TestCase):
    def test_each_row_is_of_one_part(self):
        rows = {line.split(",")[0] for line in read(bench.SAVED / "bench.csv").splitlines()[1:]}
        for row in rows:
            with self.subTest(row):
                self.assertEqual(sum(bool(re.match(p, row)) for p in bench.ROWS.values()), 1)

    def test_what_is_not_measured_stays_as_it_was_saved(self):
        data = {k: v for part in bench.saved().values() for k, v in part.items()}
        report = bench.Report(data)
        self.assertEqual(report.csv(), read(bench.SAVED / "bench.csv"))
        self.assertEqual(report.text(), read(bench.SAVED / "table.txt"))


class Base(unittest.TestCase):
    def test_the_mock_of_smmuv3_gets_onto_the_base(self):
        if not (LINUX.tree / ".git").exists():
            self.skipTest("there is no tree yet: make tree")
        commit = kernel.commit_of("stock-arm64")
        changed = LINUX.git("diff", "--name-only", f"{commit}^", commit).splitlines()
        for path in kernel.SMMU_FILES:
            self.assertIn(path, changed)
            self.assertTrue((ROOT / "linux" / path).is_file())
