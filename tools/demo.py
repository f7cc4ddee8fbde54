# SPDX-License-Identifier: GPL-2.0-only
"""make demo: build QEMU and a kernel, boot twice, and tell what happened."""

import argparse
import re
from collections import Counter

import kernel
import packages
import qemu
import selftests
import vm
from common import Failed, bold, main, outlook, say, shown
from patchqueue import LINUX, QEMU

# What allocates an SVA domain, and what an IOMMU is called.
ALLOCATES = {kernel.X86: "intel_svm_domain_alloc", kernel.ARM: "arm_smmu_sva_domain_alloc"}
NAMES = {kernel.X86: "VT-d units", kernel.ARM: "SMMUv3"}

# Runs the program with a count of the SVA domains that the kernel allocated for it.
COUNTED = """
events=/sys/kernel/tracing
echo 'p:sva_domains @ALLOCATES@' > $events/kprobe_events 2>/dev/null
echo 1 > $events/events/kprobes/sva_domains/enable 2>/dev/null
./demo
status=$?
awk '$1 == "sva_domains" { print "domains=" $2 }' $events/kprobe_profile 2>/dev/null
echo "release=$(uname -r)"
exit $status
"""


def fields(text):
    return dict(l.split("=", 1) for l in text.splitlines() if re.match(r"[\w.]+=", l))


def told(result, program):
    """What the guest's program said; a broken run is an error with its log."""
    facts = fields(result.text)
    if result.problem() or not facts:
        raise Failed(f"the guest failed: {result.problem() or 'no output'}\n"
                     f"  its log: {shown(result.log)}\n{result.text[-600:]}")
    return facts


def row(label, text):
    say(f"  {label:28}{text}")


def machine_story(facts, arch):
    sections = Counter(s.section for s in LINUX.steps())
    row("kernel", f"{LINUX.git('log', '-1', '--format=%s', 'base')} + {sum(sections.values())} "
        f"patches ({', '.join(f'{k} {v}' for k, v in sections.items())})")
    row("machine", f"{QEMU.git('log', '-1', '--format=%s', 'base')} + {len(QEMU.steps())} patches:"
        f" {facts['units']} emulated {NAMES[arch]}, {facts['devices']} svadev functions")


def devices_story(facts, count, arch):
    say(bold("\nOne process opens all functions"))
    for n in range(count):
        d = f"dev{n}."
        row(f"/dev/{facts[d + 'name']}", f"{facts[d + 'pci']} behind IOMMU unit {facts[d + 'unit']},"
            f" PASID {facts[d + 'pasid']}")
    if "domains" in facts:
        row("SVA domains", f"{facts['domains']} (allocated by the kernel, counted by a kprobe"
            + ("; 6.12 alone makes one for each SMMUv3)" if arch is kernel.ARM else ")"))
    label = "debugfs iommu/sva"
    for line in facts.get("debugfs", "").split("|")[:-1]:
        row(label, line)
        label = ""


def copy_story(facts, count):
    say(bold("\nEach copies from malloc to malloc, given two pointers"))
    for n in range(count):
        d = f"dev{n}."
        by = f"{facts[d + 'page_requests_served']} page requests served by the kernel"
        if facts[d + "page_requests_enabled"] == "no":
            by = "no page requests are served here: the CPU has touched the pages before"
        row(f"/dev/{facts[d + 'name']}", f"{int(facts[d + 'bytes_copied']) // 1024} KiB copied, {by}")
    row("compared by the CPU", facts["copied_and_verified"])


def unmap_story(facts, count):
    say(bold("\nmunmap() of one page that all of them have used"))
    for unit in sorted({facts[f"dev{n}.unit"] for n in range(count)}):
        u = f"unit{unit}.munmap_"
        row(f"IOMMU unit {unit}", ", ".join(
            f"{facts[u + what]} {name}{'s' * (name == 'wait' and facts[u + what] != '1')} (limit {facts[u + what + '_limit']})"
            for what, name in (("iotlb", "IOTLB"), ("atc", "device TLB"), ("waits", "wait"))))
    row("stale translations", {"yes": "0, of all cached ones compared with a fresh walk"}.get(
        facts["nothing_stale"], "SOME"))
    for n in range(count):
        d = f"dev{n}."
        row(f"/dev/{facts[d + 'name']} writes there",
            f"{facts[d + 'dma_after_munmap']} at {facts[d + 'fault_address']}")


def lost_story(image, machine, program):
    """Take one invalidation away, and see that it is noticed."""
    say(bold("\nThe same, but the emulated IOMMU loses one device-TLB invalidation"))
    result = vm.run_guest(image, machine, "SVADEV_DROP=atc:1 ./demo", [program],
                          f"demo-{machine.arch.name}-lost", 120)
    facts = told(result, program)
    caught = facts.get("nothing_stale") == "NO"
    row("stale translations", "found: the missed invalidation is caught" if caught
        else "none found: NOT caught")
    return caught


def tell(flavour):
    """The story on a kernel, told as it goes: {what: whether it held}."""
    arch = kernel.FLAVOURS[flavour].arch
    machine = vm.Machine(2, 2, append=kernel.FLAVOURS[flavour].append, arch=arch)
    image, program = kernel.build(flavour), selftests.demo(arch)
    ours = told(vm.run_guest(image, machine, COUNTED.replace("@ALLOCATES@", ALLOCATES[arch]),
                             [program], f"demo-{arch.name}", 120), program)
    say()
    machine_story(ours, arch)
    if ours.get("bind") != "ok":
        raise Failed(f"the kernel refuses to bind: {ours.get('dev0.open')}")
    count = int(ours["devices"])
    devices_story(ours, count, arch)
    copy_story(ours, count)
    unmap_story(ours, count)
    return {"what the program checks": ours.get("result") == "ok",
            "IOMMU units": ours["units"] == str(machine.units),
            "functions": count == machine.devices,
            "SVA domains": ours.get("domains") == "1",
            "a lost invalidation": lost_story(image, machine, program)}


def run():
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--arch", default="", help=" or ".join(kernel.ARCHS))
    arch = kernel.arch(parser.parse_args().arch)
    flavour = kernel.DEMO[arch]
    say(bold("Shared Virtual Addressing on Linux 6.12, from source to a device on malloc'd memory"))
    outlook.plan(["packages", "linux-source-6.12", "qemu", f"build QEMU for {arch.target}",
                  f"build the {flavour} kernel"], after=60)
    vm.can_execute(arch)
    packages.ensure(packages.BUILD_TOOLS, packages.QEMU_TOOLS, packages.GUEST_TOOLS, arch.packages())
    LINUX.assemble()
    QEMU.assemble()
    qemu.build(target=arch.target)
    bad = [what for what, holds in tell(flavour).items() if not holds]
    say(bold(f"\nNOT everything held: {', '.join(bad)}." if bad else "\nEverything held."))
    if arch is kernel.X86:
        say("  A kernel without the series answers EOPNOTSUPP: make test-all SUITE=stock asks the\n"
            "  distribution's own.")
    own = " ARCH=arm64" if arch is kernel.ARM else ""
    say(f"  Next: make test{own}, make vm{own}, make help; README.md says what this proves.")
    return 1 if bad else 0


if __name__ == "__main__":
    main(run)
