# SPDX-License-Identifier: GPL-2.0-only
"""Small judgements that other programs rely on."""

import re
import unittest
from pathlib import Path

import packages
import test
import vm
from common import ROOT
from patchqueue import QUEUES, subject_of


def registers(path):
    """Names and values of a header's SVADEV_ constants, spelling aside."""
    found = {}
    for name, value in re.findall(r"(?m)^#define\s+(SVADEV_\w+)\s+(\S.*?)\s*(?:/\*.*)?$",
                                  path.read_text()):
        found[name] = re.sub(r"\bULL\b|(?<=[0-9a-fA-F])U?LL?\b", "", value)
    return found


class Headers(unittest.TestCase):
    def test_kernel_and_model_mean_the_same_registers(self):
        linux = registers(ROOT / "linux/include/uapi/misc/uacce/svadev.h")
        model = registers(ROOT / "qemu/include/hw/misc/svadev_regs.h")
        self.assertGreater(len(linux), 50)
        self.assertEqual(linux, model)


class Versions(unittest.TestCase):
    def test_newest_is_by_number(self):
        names = [Path(f"linux-source-6.12_6.12.{n}-1~deb12u1_all.deb") for n in (99, 117, 8)]
        self.assertEqual(max(names, key=packages.version_key), names[1])


class Ktap(unittest.TestCase):
    def test_header_is_in_one_piece(self):
        lines = ["[ 1.0] KTAP version 1", "[ 1.0] 1..1", "[ 1.1]     KTAP version 1",
                 "[ 1.1] tsc: Refined TSC clocksource calibration: 2596.150 MHz",
                 "[ 1.1]     # Subtest: suite", "[ 1.2]     1..1", "[ 1.3] DMAR: something",
                 "[ 1.4]     ok 1 case", "[ 1.4] ok 1 suite", ""]
        whole = "\n".join(lines)
        without = "\n".join(l for l in lines if "tsc" not in l)
        self.assertEqual(test.undisturbed(whole), without)
        self.assertEqual(test.undisturbed(without), without)


class Trouble(unittest.TestCase):
    def test_reports_are_seen(self):
        for line in ("[ 1.0] WARNING: CPU: 0 PID: 1 at kernel/foo.c:1 foo+0x1/0x2",
                     "BUG: KASAN: slab-use-after-free in x", "Kernel panic - not syncing: Oops",
                     "WARNING: possible circular locking dependency detected",
                     "WARNING: suspicious RCU usage", "INFO: task sh:1 blocked for more than 60 s",
                     "BUG: sleeping function called from invalid context at x.c:3",
                     "rcu: INFO: rcu_preempt self-detected stall on CPU",
                     "list_del corruption. prev->next should be x", "ODEBUG: free active"):
            self.assertTrue(vm.TROUBLE.search(line), line)

    def test_ordinary_lines_are_not(self):
        for line in ("DMAR: Intel(R) Virtualization Technology for Directed I/O",
                     "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
                     "svadev 0000:01:00.0: 8 queues, ATS on, PRI on", "Freeing unused kernel image"):
            self.assertFalse(vm.TROUBLE.search(line), line)


class Machines(unittest.TestCase):
    def test_devices_beyond_the_last_unit_go_to_unit_0(self):
        words = vm.Machine(units=2, devices=3).arguments()
        covered = [w for w in words if "primary-bus" in w]
        self.assertEqual(len(covered), 1)
        self.assertTrue(covered[0].endswith("primary-bus=rp1"))
        self.assertEqual(sum(w.startswith("svadev,") for w in words), 3)

    def test_shapes_out_of_range_are_refused(self):
        for bad in (dict(units=0), dict(units=9), dict(devices=17), dict(cpus=0)):
            with self.assertRaises(vm.Failed):
                vm.Machine(**bad).arguments()


def race(*frames):
    """A report of KCSAN whose two stacks are alike."""
    stack = "".join(f" {f}+0x1/0x2\n" for f in frames)
    return ("BUG: KCSAN: data-race in x / y\n\n"
            f"read to 0x1 of 8 bytes by task 1 on cpu 0:\n{stack}\n"
            f"write to 0x1 of 8 bytes by interrupt on cpu 1:\n{stack}\n" + "=" * 60 + "\n")


class Races(unittest.TestCase):
    def test_ours_is_told_from_one_that_interrupts_us(self):
        deep = ("hrtimer_active", "tick", "irq", "asm_irq", "imock_access", "kthread")
        self.assertEqual(vm.troubles(race(*deep), None), [])
        self.assertEqual(len(vm.troubles(race("imock_add", *deep), None)), 1)
        self.assertEqual(len(vm.troubles(race("memcpy", "iommu_attach_find", *deep), None)), 1)


class Readme(unittest.TestCase):
    def test_status_table_names_every_patch(self):
        readme = (ROOT / "README.md").read_text()
        for queue in QUEUES:
            for step in queue.steps():
                self.assertIn(f"`{subject_of(queue.patches / step.patch)}`", readme)
