# SPDX-License-Identifier: GPL-2.0-only
"""Small judgements that other programs rely on."""

import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import common
import kernel
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


class Trouble(unittest.TestCase):
    def test_reports_are_seen(self):
        for line in ("[ 1.0] WARNING: CPU: 0 PID: 1 at kernel/foo.c:1 foo+0x1/0x2",
                     "BUG: KASAN: slab-use-after-free in x",
                     "[ 2.5] BUG: KASAN: vmalloc-out-of-bounds in foo+0x1/0x2",
                     "[ 2.5] KASAN: null-ptr-deref in range [0x0000-0x0007]",
                     "Kernel panic - not syncing: Oops",
                     "WARNING: possible circular locking dependency detected",
                     "WARNING: suspicious RCU usage", "INFO: task sh:1 blocked for more than 60 s",
                     "BUG: sleeping function called from invalid context at x.c:3",
                     "rcu: INFO: rcu_preempt self-detected stall on CPU",
                     "rcu: rcu_preempt kthread starved for 5250 jiffies! g-1191 f0x0 RCU_GP_WAIT_FQS",
                     "list_del corruption. prev->next should be x", "ODEBUG: free active",
                     "pagealloc: memory corruption", "pagealloc: single bit error",
                     "BUG kmalloc-64 (Not tainted): Poison overwritten",
                     "BUG: Bad page state in process sh  pfn:01234",
                     "BUG: Bad rss-counter state mm:1 type:MM_ANONPAGES val:1",
                     "DEBUG_LOCKS_WARN_ON(1)\nWARNING: CPU: 0 PID: 1 at kernel/locking/lockdep.c:1",
                     "INFO: trying to register non-static key.",
                     "turning off the locking correctness validator.",
                     "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
                     "kmem_cache_destroy iommu_iova: Slab cache still has objects when called from x",
                     "VFS: Busy inodes after unmount of ram0 (ext2)",
                     'irq 9: nobody cared (try booting with the "irqpoll" option)',
                     "Unable to handle kernel paging request at virtual address 0",
                     "{1}[Hardware Error]: event severity: fatal",
                     "arm-smmu-v3 c000000.smmuv3: event 0x04 received:",
                     "arm-smmu-v3 c000000.smmuv3: event 0x11 received:",
                     "arm-smmu-v3 c000000.smmuv3: CMDQ error (cons 0x01000004): Illegal command",
                     "arm-smmu-v3 c000000.smmuv3: CMDQ timeout",
                     "arm-smmu-v3 c000000.smmuv3: EVTQ overflow detected -- events lost",
                     "DMAR: [INTR-REMAP] Request device [00:01.0] fault index 0x1 [fault reason 0x22] x",
                     "DMAR: [DMA Write PASID 0x2] Request device [01:00.0] fault addr 0x1 "
                     "[fault reason 0x5a] SM: Non-zero reserved fields set in PASID Table Entry"):
            self.assertEqual(len(vm.troubles(line, None)), 1, line)

    def test_a_console_that_hides_some_is_trouble(self):
        line = f"[ 9.0] {vm.SHOWN.format(4)}"
        found = vm.troubles(f"[ 1.0] BUG: x\n{line}\n", None)
        self.assertEqual(vm.blind(found, 4), ["[ 1.0] BUG: x"])
        for trouble, level in ((["x"], 4), (found[1:], 6), (found[1:] * 2, 4)):
            self.assertIn("does not show", vm.blind(trouble, level)[-1])

    def test_events_that_the_kernel_does_not_tell_are_trouble(self):
        told = "[ 1.0] arm-smmu-v3 c000000.smmuv3: event 0x10 received:"
        meant, other = (f"smmuv3_record_event SMMU_EVT_{kind} sid=0x100\n"
                        for kind in ("F_TRANSLATION", "C_BAD_STE"))
        for heard, console, said in (("", "", []), (meant * 20, told, []), (meant * 20, "", []),
                                     (other * 2 + meant, told, ["2 SMMU_EVT_C_BAD_STE"]),
                                     ("qemu: died\n", told, ["QEMU does not"])):
            found = vm.events(heard, console)
            self.assertEqual(len(found), len(said), found)
            for line, end in zip(found, said):
                self.assertTrue(line.endswith(end), line)

    def test_events_of_fenced_functions_are_where_they_are_expected(self):
        heard = "smmuv3_record_event SMMU_EVT_F_TRANS_FORBIDDEN sid=0x100\n"
        expects = {"sva_timeout": ["fences"]}
        for console, nr in (("## sva_timeout", 0), ("## sva_map", 1)):
            self.assertEqual(len(vm.events(heard, console, expects)), nr, console)

    def test_ordinary_lines_are_not(self):
        for line in ("DMAR: Intel(R) Virtualization Technology for Directed I/O",
                     "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
                     "kasan: KernelAddressSanitizer initialized",
                     "svadev 0000:01:00.0: 8 queues, ATS on, PRI on", "Freeing unused kernel image",
                     "DMAR: DRHD: handling fault status reg 2",
                     "DMAR: [DMA Write PASID 0x2] Request device [01:00.0] fault addr 0x1 "
                     "[fault reason 0x5b] SM: Present bit in PASID Table Entry is clear",
                     "arm-smmu-v3 c000000.smmuv3: event 0x10 received:",
                     "arm-smmu-v3 c000000.smmuv3: event 0x0a received:"):
            self.assertEqual(vm.troubles(line, None), [], line)

    KINDS = {
        "invalidations": ["DMAR: VT-d detected Invalidation Time-out Error: SID 100",
                          "iommu: dmar0: requester 0x0100 does not answer invalidations: its",
                          "iommu: dmar0: invalidation of tag 1, PASID 2 failed: -110",
                          "DMAR: dmar1: not removed: an invalidation has failed, and domain",
                          "arm-smmu-v3 c0.smmuv3: CMDQ error (cons 0x03001a64): ATC invalidate timeout",
                          "arm-smmu-v3 c0.smmuv3: ATC invalidation not answered by stream 0x100"],
        "syncs": ["arm-smmu-v3 c0.smmuv3: CMD_SYNC timeout at 0x1 [hwprod 0x1, hwcons 0x0], goes on waiting"],
        "requests": ["dmar1: Invalid page request: 00001 2000", "IOMMU: dmar0: Page request without PASID"],
        "resets": ["mock40-fn0: may use memory that was freed until it is reset: -22"],
        "fences": [],
        "queues": ["svadev 0000:01:00.0: queue 3 with PASID 1 does not stop"],
        "memory": ["Out of memory: Killed process 99 (sva_map) total-vm:1kB"],
        "stacks": ["Call Trace:", "Call trace:", "sysfs: cannot create duplicate filename '/x'"],
    }

    def test_what_hardware_does_is_trouble_where_nobody_broke_it(self):
        self.assertEqual(set(self.KINDS), set(vm.KINDS))
        for kind, lines in self.KINDS.items():
            for line in lines:
                self.assertEqual(len(vm.troubles(line, None)), 1, line)

    def test_who_breaks_it_may_say_so(self):
        for kind, lines in self.KINDS.items():
            for begins in ("[ 1.0] ## sva_x", "[ 1.0]     # Subtest: sva_x"):
                for line in lines:
                    text = f"{begins}\n[ 1.1] {line}\n"
                    self.assertEqual(vm.troubles(text, None, {"sva_*": [kind]}), [], line)
                    self.assertEqual(len(vm.troubles(text, None, {"sva_y": [kind]})), 1, line)
                    other = f"{text}{begins[:-1]}y\n[ 1.1] {line}\n"
                    self.assertEqual(len(vm.troubles(other, None, {"sva_x": [kind]})), 1, line)
        inner = "[ 1.0]     # Subtest: a\n[ 1.0]         # Subtest: b\n[ 1.0] Call Trace:\n"
        self.assertEqual(vm.troubles(inner, None, {"a": ["stacks"]}), [])

    def test_a_bug_is_one_whoever_breaks_hardware(self):
        text = "[ 1.0] ## sva_x\n[ 1.1] BUG: Bad page state in process sh\n"
        self.assertEqual(len(vm.troubles(text, None, {"sva_x": list(vm.KINDS)})), 1)

    def test_kinds_that_are_expected_exist(self):
        for name, kinds in test.configuration()["expects"].items():
            self.assertLessEqual(set(kinds), set(vm.KINDS), name)


class Machines(unittest.TestCase):
    def test_devices_beyond_the_last_unit_go_to_unit_0(self):
        words = vm.Machine(units=2, devices=3).arguments()
        covered = [w for w in words if "primary-bus" in w]
        self.assertEqual(len(covered), 1)
        self.assertTrue(covered[0].endswith("primary-bus=rp1"))
        self.assertEqual(sum(w.startswith("svadev,") for w in words), 3)

    def test_on_arm64_a_unit_has_a_port(self):
        words = vm.Machine(units=2, devices=2, last_options="x-ril=off", arch=kernel.ARM).arguments()
        self.assertEqual([w.split(",", 3)[3] for w in words if w.startswith("arm-smmuv3")],
                         ["primary-bus=rp0", "x-ril=off,primary-bus=rp1"])
        words = vm.Machine(units=2, devices=3, arch=kernel.ARM).arguments()
        self.assertEqual([w.split(",", 3)[3] for w in words if w.startswith("arm-smmuv3")],
                         ["primary-bus=pcie.0", "primary-bus=rp1"])

    def test_on_arm64_each_port_has_acs(self):
        said = vm.Machine(units=2, devices=3, arch=kernel.ARM).parameters()
        self.assertEqual(said.count("0011101@0000:00:0"), 3)
        self.assertNotIn("acs", vm.Machine(units=2, devices=3).parameters())

    def test_kvm_is_for_the_hosts_own_architecture(self):
        with mock.patch.object(vm, "ACCEL", "kvm"), mock.patch.object(os, "access", lambda *a: True):
            self.assertIn("kvm", vm.accelerator())
            self.assertIn("tcg,thread=multi", vm.accelerator(arch=kernel.ARM))
            vm.can_execute(kernel.X86)
            with self.assertRaisesRegex(common.Failed, "cannot execute guests of arm64"):
                vm.can_execute(kernel.ARM)

    def test_a_program_is_for_the_guest(self):
        def elf(machine, kind):
            return b"\x7fELF\x02\x01" + struct.pack("<10xHH12xQ14xHH6xI52x", 2, machine, 64, 56, 1,
                                                      kind)
        with tempfile.NamedTemporaryFile() as f:
            for text, arch, why in (
                    (b"#!/bin/sh\n", kernel.ARM, None), (b"", kernel.ARM, None),
                    (elf(62, 3), kernel.X86, None), (elf(183, 1), kernel.ARM, None),
                    (elf(62, 1), kernel.ARM, "is for x86_64; the guest is arm64"),
                    (elf(40, 1), kernel.X86, "is for another architecture"),
                    (elf(183, 3), kernel.ARM, "link it with -static")):
                Path(f.name).write_bytes(text)
                if why:
                    with self.assertRaisesRegex(common.Failed, why):
                        vm.refuse_foreign(f.name, arch)
                else:
                    vm.refuse_foreign(f.name, arch)

    def test_an_architecture_has_a_name(self):
        self.assertIs(kernel.arch(""), kernel.X86)
        self.assertIs(kernel.arch("x86"), kernel.X86)
        self.assertIs(kernel.arch("aarch64"), kernel.ARM)
        self.assertIs(kernel.arch("arm64"), kernel.ARM)
        with self.assertRaisesRegex(common.Failed, "ARCH=arm: there are x86_64 and arm64"):
            kernel.arch("arm")

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
        self.assertEqual(len(vm.troubles(race("memcpy", "iommu_alist_find", *deep), None)), 1)


class Packages(unittest.TestCase):
    """What is run as root, and by whom."""

    def commands(self, prefix, call):
        ran = []
        with mock.patch.multiple(
                packages, root_command=lambda: prefix,
                run=lambda title, command, *a, **k: ran.append([str(c) for c in command])):
            call()
        return ran

    def test_sudo_gets_no_option_of_apt(self):
        for command in self.commands(["sudo", "-n"], lambda: packages.new_lists("lists")):
            self.assertEqual(command[:3], ["sudo", "-n", "apt-get"])
        install = self.commands(["sudo", "-n"], lambda: packages.apt("x", "install", "make"))[0]
        self.assertEqual(install[:3], ["sudo", "-n", "env"])
        self.assertIn("DEBIAN_FRONTEND=noninteractive", install)

    def test_lists_of_the_machine_want_root(self):
        self.assertEqual(self.commands(None, lambda: packages.new_lists("lists")), [])

    def test_without_root_it_is_said_what_to_run(self):
        with mock.patch.object(packages, "root_command", lambda: None):
            with self.assertRaisesRegex(common.Failed, "apt-get install make"):
                packages.apt("x", "install", "make")

    def test_no_install_comes_first(self):
        with mock.patch.dict(os.environ, SVA_NO_INSTALL="1"), \
                mock.patch.object(packages, "missing", self.fail), \
                mock.patch.object(packages, "claim_cache", lambda: None), \
                mock.patch.object(packages.shutil, "which", lambda name, **k: None):
            packages.ensure(packages.BUILD_TOOLS)

    def test_other_hosts_are_told_at_once(self):
        with mock.patch.object(packages.platform, "machine", lambda: "aarch64"), \
                mock.patch.object(packages, "claim_cache", lambda: None):
            with self.assertRaisesRegex(common.Failed, "aarch64"):
                packages.ensure(packages.BUILD_TOOLS)

    def archive(self, tmp, pool, *cached):
        """Linux' archive with some files in the cache and some versions in the pool; what it
        takes, and what it says."""
        said = []

        def download(title, command, env, pattern):
            version = command[-1].partition("=")[2] or pool[-1]
            (Path(tmp) / f"linux-source-6.12_{version}_all.deb").touch()
            return [Path(tmp) / f"linux-source-6.12_{version}_all.deb"]
        for name in cached:
            (Path(tmp) / name).touch()
        with mock.patch.multiple(
                packages, DOWNLOADS=Path(tmp), recorded_base=lambda queue: "6.12.117",
                download=download, new_lists=lambda *a: None, say=said.append,
                output=lambda *a, **k: "\n".join(f" x | {v} | y" for v in pool)):
            archive = packages.linux_archive
            archive.asked = False
            return archive().name, archive().name, said

    def test_base_of_the_series_is_preferred(self):
        old, base, new = (f"6.12.{n}-1~deb12u1" for n in (116, 117, 118))
        for pool, cached, taken, notes in (
                ([base, new], (), base, 0), ([new], (), new, 1), ([base, new], (new, old), base, 0),
                ([new], (old,), old, 1), ([new], (base, new), base, 0)):
            with tempfile.TemporaryDirectory() as tmp:
                first, again, said = self.archive(
                    tmp, pool, *(f"linux-source-6.12_{v}_all.deb" for v in cached))
                self.assertEqual((first, len(said)), (f"linux-source-6.12_{taken}_all.deb", notes))
                self.assertEqual(first, again)

    def test_an_archive_of_its_authors_serves(self):
        with tempfile.TemporaryDirectory() as tmp:
            self.assertEqual(self.archive(tmp, [], "linux-6.12.117.tar.xz")[0],
                             "linux-6.12.117.tar.xz")

    def test_a_busybox_is_unpacked_whole_or_not_at_all(self):
        """Wherever in its package it is."""
        for place in ("bin", "usr/bin"):
            with tempfile.TemporaryDirectory() as tmp:
                deb = Path(tmp) / "busybox-static_1_arm64.deb"
                broken = [True, False]

                def unpack(*command):
                    home = Path(command[-1]) / place
                    home.mkdir(parents=True)
                    (home / "busybox").touch()
                    if broken.pop(0):
                        raise KeyboardInterrupt
                with mock.patch.multiple(packages, BUILD=Path(tmp), newest=lambda p: deb,
                                         output=unpack):
                    with self.assertRaises(KeyboardInterrupt):
                        packages.busybox_arm64()
                    self.assertEqual(os.listdir(tmp), [])
                    for _ in range(2):  # the second has it
                        self.assertEqual(packages.busybox_arm64(),
                                         Path(tmp) / deb.stem / place / "busybox")
                    (Path(tmp) / deb.stem / place / "busybox").unlink()
                    with self.assertRaisesRegex(common.Failed, "no busybox in"):
                        packages.busybox_arm64()

    def test_epochs_do_not_hide_a_version(self):
        row = " qemu | 1:10.0.13+ds-0+deb13u1 | trixie/main Sources"
        with mock.patch.object(packages, "output", lambda *a, **k: row):
            self.assertEqual(packages.offered("qemu", "10.0.13"), "1:10.0.13+ds-0+deb13u1")
            self.assertEqual(packages.offered("qemu", "10.0.1"), "")

    def test_both_queues_record_a_base(self):
        for queue in QUEUES:
            self.assertRegex(packages.recorded_base(queue.name), r"^\d+\.\d+\.\d+$")


def tool(code, **environment):
    """Run a line of Python as a tool; its exit status and what it printed."""
    r = subprocess.run([sys.executable, "-B", "-c", f"import common\n{code}"], text=True,
                       cwd=ROOT / "tools", env=dict(os.environ, **environment),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return r.returncode, r.stdout


class Cache(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.cache = Path(self.tmp.name) / "cache"

    def tool(self, code):
        return tool(code, SVA_CACHE=str(self.cache))

    def test_a_directory_of_something_else_is_refused(self):
        self.cache.mkdir()
        (self.cache / "photos").touch()
        status, said = self.tool("common.main(common.claim_cache)")
        self.assertEqual(status, 1)
        self.assertIn("photos", said)

    def test_only_what_is_ours_is_removed(self):
        self.assertEqual(self.tool("common.main(common.claim_cache)")[0], 0)
        for name in ("downloads", "photos"):
            (self.cache / name).mkdir()
        clean = "import clean as c\nc.refuse_cache() or common.main(c.remove_cache)"
        self.assertEqual(self.tool(clean)[0], 0)
        self.assertEqual([p.name for p in self.cache.iterdir()], ["photos"])
        self.assertNotEqual(self.tool(clean)[0], 0)
        self.assertTrue((self.cache / "photos").exists())

    def test_the_mark_of_another_program_is_not_ours(self):
        (self.cache / "ccache").mkdir(parents=True)
        (self.cache / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
        self.assertEqual(self.tool("common.main(common.claim_cache)")[0], 1)
        self.assertNotEqual(self.tool("import clean as c\nc.refuse_cache()")[0], 0)

    def test_what_cannot_be_a_directory_is_refused(self):
        self.cache.touch()
        status, said = self.tool("common.main(common.claim_cache)")
        self.assertEqual(status, 1)
        self.assertNotIn("Traceback", said)

    def test_an_interrupted_mark_is_in_nobodys_way(self):
        self.cache.mkdir()
        (self.cache / ".CACHEDIR.TAG.xyz").touch()
        self.assertEqual(self.tool("common.main(common.claim_cache)")[0], 0)


class FrontDoor(unittest.TestCase):
    def test_words_arrive_as_they_were_typed(self):
        typed = 'dyndbg="file x +p" $HOME $(shell echo no) `echo no`'
        echo = f"{sys.executable} -c 'import sys; print(sys.argv[-1])'"
        for target, word in (("vm", "APPEND"), ("vm", "RUN"), ("test", "TEST")):
            r = subprocess.run(["make", "-s", target, f"{word}={typed}", f"PY={echo}"], cwd=ROOT,
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(r.stdout.rstrip("\n"), typed, word)

    def test_help_names_every_target(self):
        targets = re.search(r"(?s)\.PHONY:(.*?)\n\n", (ROOT / "Makefile").read_text())[1]
        said = subprocess.run([sys.executable, "-B", "tools/help.py"], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE).stdout
        for target in set(targets.replace("\\", " ").split()) - {"help"}:
            self.assertRegex(said, rf"(?m)^make {target}\b")


class Errors(unittest.TestCase):
    def test_a_missing_program_is_named_with_its_package(self):
        status, said = tool("common.main(lambda: common.output('ninja'))", PATH="/nonexistent")
        self.assertEqual(status, 1)
        self.assertIn("'ninja-build'", said)
        self.assertNotIn("Traceback", said)

    def test_a_missing_file_is_a_bug(self):
        status, said = tool("common.main(lambda: open('/nonexistent/x'))")
        self.assertIn("Traceback", said)

    def test_sections_that_messages_name_exist(self):
        found = 0
        for program in (ROOT / "tools").glob("*.py"):
            text = re.sub(r'"\s*f?"', "", program.read_text())
            for section, file in re.findall(r"'([A-Z][\w .]+)' in ([\w/]+\.md)", text):
                self.assertRegex((ROOT / file).read_text(), rf"(?m)^#+ {re.escape(section)}$")
                found += 1
        self.assertGreaterEqual(found, 3)


class Outlook(unittest.TestCase):
    def test_minutes_left_follow_the_pace(self):
        title, later = "build QEMU for x86_64", "build the debug kernel"
        fast, slow = common.Outlook(), common.Outlook()
        for o in (fast, slow):
            o.plan([title, later])
            o.begins(title)
        half = common.NOMINAL[title] / 2
        self.assertIn(f"about {round((half + common.NOMINAL[later]) / 60)} min",
                      fast.left(title, half, 0.5))
        self.assertIn(f"about {round((half + common.NOMINAL[later]) / 30)} min",
                      slow.left(title, 2 * half, 0.5))

    def test_what_was_cached_is_not_waited_for(self):
        o = common.Outlook()
        o.plan(["build QEMU for x86_64", "build the debug kernel"])
        o.begins("build the debug kernel")
        self.assertEqual(o.titles, [])


class Readme(unittest.TestCase):
    def test_status_table_names_every_patch(self):
        readme = (ROOT / "README.md").read_text()
        for queue in QUEUES:
            for step in queue.steps():
                self.assertIn(f"`{subject_of(queue.patches / step.patch)}`", readme)
