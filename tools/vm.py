# SPDX-License-Identifier: GPL-2.0-only
"""Guests: a kernel of ours, in our QEMU, with IOMMU units and svadev functions.

`make vm` is the command line of it; the suites and the demo use run_guest().
"""

import argparse
import fnmatch
import gzip
import os
import re
import select
import shlex
import shutil
import struct
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import kernel
import packages
import qemu
from common import LOGS, ROOT, Failed, main, output, read, say, shown

INIT = ROOT / "tests/guest/init"
# Where distributions have the firmware of a PC.
SEABIOS = ("/usr/share/seabios", "/usr/share/qemu", "/usr/share/qemu-kvm")
# TCG is the reference: what CI runs, and what all figures and time-outs are for.
ACCEL = os.environ.get("ACCEL") or "tcg"

# What no run of ours may print into the kernel's log.
TROUBLE = re.compile(
    r"WARNING: |BUG: |BUG at |Oops|Kernel panic|general protection fault"
    r"|INFO: task .* blocked|INFO: possible .*lock|INFO: inconsistent lock"
    r"|possible circular locking|possible recursive locking|suspicious RCU usage"
    r"|trying to register non-static key|locking correctness validator|lockdep is turned off"
    r"|detected stall|detected expedited stall|kthread starved|soft lockup|hard LOCKUP"
    r"|unreferenced object|suspected memory leak|still has objects|Busy inodes after unmount"
    r"|refcount_t: |UBSAN: |KASAN: |KCSAN: |invalid opcode|page fault for address"
    r"|Unable to handle kernel|nobody cared|\[Hardware Error\]"
    r"|list_(add|del) corruption|ODEBUG:|held lock freed|lock held when returning"
    r"|pagealloc: |BUG \S+ \("
    # what an SMMU says of itself, and of structures that are not as they should be
    r"|smmu\S* .*(CMDQ timeout|CMDQ error \(.*: (?!ATC inv)|\w+ overflow|aborted|Failure Mode)"
    r"|smmu\S* .*event 0x(?!08|0a|10|13)\w+ received"
    # faults of an IOMMU, but those of functions that go beyond what their process has
    r"|INTR-REMAP\] Request device"
    r"|fault reason 0x\w+\](?! SM: (Present bit in (Directory Entry|PASID Table Entry|"
    r"first-level paging entry) is clear|No write permission for Write))")

# SMMUv3's driver tells 10 events in 5 s, and drops the others: QEMU tells all of them, but for those of
# functions that go beyond what their process has, where TROUBLE leaves them out, too.
TRACED = "smmuv3_record_event"
EVENT = re.compile(rf"^{TRACED} (\S+) sid=\w+$", re.M)
MEANT = {f"SMMU_EVT_{name}" for name in ("C_BAD_SUBSTREAMID", "C_BAD_CD", "F_TRANSLATION",
                                         "F_PERMISSION")}
TOLD = re.compile(r"smmu\S* .*event 0x\w+ received")
# What becomes of a function that does not answer: only where a program expects "fences". The driver
# does not tell them.
REFUSED = {"SMMU_EVT_F_BAD_ATS_TREQ", "SMMU_EVT_F_TRANS_FORBIDDEN"}

# Each guest says this at its end, at the least urgent level that its console has to show. Trouble
# of that level would not be seen where this is not.
SHOWN = "WARNING: guest: messages of level {} are shown"

# Trouble, too, unless a program or a KUnit suite causes it: tests/suites.toml has its name under
# [expects], with the kinds of messages.
KINDS = {
    "invalidations": re.compile(
        r"detected Invalidation \w+.* Error|does not answer invalidations"
        r"|invalidation of .* failed: -|waiting for invalidations failed: -"
        r"|not removed: an invalidation has failed"
        r"|smmu\S* .*(ATC invalidat(e timeout|ion not answered)|unexpected global error)"),
    # The driver goes on waiting, however long it takes.
    "syncs": re.compile(r"smmu\S* .*CMD_SYNC timeout"),
    # Events of functions that were fenced, which the driver does not print: see REFUSED.
    "fences": re.compile(r"(?!)"),
    "resets": re.compile(r"may use memory that was freed until it is reset"),
    "requests": re.compile(
        r"[Ii]nvalid page request|Page request without PASID|Address is not canonical"
        r"|Page request in Privilege Mode|Execution request not supported"),
    "queues": re.compile(r"queue \d+ with PASID \d+ does not stop"),
    "memory": re.compile(r"Out of memory: |page allocation failure|table allocation failed"),
    "stacks": re.compile(r"Call [Tt]race:|cannot create duplicate filename"),
}

# A line of the console that says which program or KUnit suite begins.
BEGINS = re.compile(r"(?:^|\] )(?:## |    # Subtest: )(\w+)\s*$")

# The base has data races, too; ours are those with a function of what we change at the top of
# one of the two stacks. Deeper down it only waits, or was interrupted.
RACE = re.compile(r"BUG: KCSAN: .*?={20}", re.S)
TOP_OF_STACK = re.compile(r" by (?:task|interrupt) .*:\n(.*\n.*\n.*\n)")
OUR_CODE = re.compile(r"\b(iommu|iopf|imock|atk|mock|sva|kernel_pgtable|kiommu|arm_smmu|smmu)_")


@dataclass
class Machine:
    """The shape of a guest."""
    units: int = 2
    devices: int = 2
    cpus: int = 2
    memory: int = 1024                  # MiB; with less there are no huge pages
    device_options: str = ""            # of svadev: "ats=off,pri=off"
    append: str = ""                    # more kernel parameters
    unit_options: str = ""              # of intel-iommu or arm-smmuv3
    last_options: str = ""              # of the last unit alone
    icount: bool = False                # the clock counts instructions, a nanosecond each
    cpu: str = ""                       # of TCG, if not that of the architecture
    arch: kernel.Arch = kernel.X86

    @property
    def ports(self):
        return max(self.devices, self.units)

    def iommus(self):
        """What the option -device says of each unit. Unit n covers root port n, unit 0 all the
        rest of the machine: devices beyond the last unit stand behind unit 0."""
        if self.arch is kernel.ARM:
            first = ",primary-bus=" + ("pcie.0" if self.devices > self.units else "rp0")
            name = "arm-smmuv3,x-ssidsize=16,x-ats=on"
        else:
            first = ""
            # KVM asks one unit about every interrupt, so that several cannot remap them.
            name = (f"intel-iommu,intremap={'off' if ACCEL == 'kvm' else 'on'},x-scalable-mode=on,"
                    "x-flts=on,x-pasid-mode=on,device-iotlb=on,x-svm=on")
        for unit in range(self.units):
            own = [self.unit_options, self.last_options if unit == self.units - 1 else ""]
            yield ",".join([name, *filter(None, own)]) + \
                (f",primary-bus=rp{unit}" if unit else first)

    def arguments(self):
        """Device n sits on root port n."""
        if not 1 <= self.units <= 8 or not 0 <= self.devices <= 16 or not 1 <= self.cpus <= 8:
            raise Failed("a guest has 1 to 8 units, 0 to 16 devices and 1 to 8 CPUs")
        devices = [f"pcie-root-port,id=rp{n},chassis={n + 1},slot={n + 1},addr={n + 1:x}"
                   for n in range(self.ports)]
        devices += self.iommus()
        options = f",{self.device_options}" if self.device_options else ""
        devices += [f"svadev,bus=rp{n},addr=0{options}" for n in range(self.devices)]
        return [word for d in devices for word in ("-device", d)]

    def parameters(self):
        """The kernel's, for this machine. SMMUs are known after the ports: too late for ACS, without
        which no function has PASIDs."""
        own = "no_timer_check" if self.arch is kernel.X86 else "pci=config_acs=" + ";".join(
            f"0011101@0000:00:{n + 1:02x}.0" for n in range(self.ports))
        return f"{own} {self.append}"


@dataclass
class Result:
    status: int                         # of the program; None: the guest did not get so far
    text: str                           # what the program printed
    console: str
    log: Path
    trouble: list = field(default_factory=list)
    took: float = 0

    def problem(self):
        """Why this run cannot be trusted, in a line; None if it can."""
        if self.trouble:
            return f"kernel log: {self.trouble[0]}"
        if self.status is None:
            return "the guest ended before its program did"
        return None


# ELF's numbers for what executes a program.
MACHINES = {62: kernel.X86, 183: kernel.ARM}
PT_INTERP = 3


def refuse_foreign(program, arch):
    """What the guest could only call "not found": a program for another architecture, or one that
    needs libraries of the guest's, which this host may not have."""
    with open(program, "rb") as file:
        elf = file.read(0x10000)
    if elf[:6] != b"\x7fELF\x02\x01":
        return                          # a script, data
    machine, = struct.unpack_from("<H", elf, 18)
    if MACHINES.get(machine) is not arch:
        name = MACHINES[machine].name if machine in MACHINES else "another architecture"
        raise Failed(f"{program} is for {name}; the guest is {arch.name}")
    at, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    kinds = [struct.unpack_from("<I", elf, at + n * size)[0] for n in range(count)]
    if arch is not kernel.X86 and PT_INTERP in kinds:
        raise Failed(f"{program} wants libraries of {arch.name}, which are not here: link it with "
                     "-static")


def libraries(program):
    """The shared libraries a dynamic program wants, at their paths."""
    text = output("ldd", program, check=False)
    return [Path(p) for p in re.findall(r"(/\S+) \(0x", text)]


def busybox(arch):
    """A static busybox: the guest has no libraries."""
    if arch is kernel.ARM:
        return packages.busybox_arm64()
    path = shutil.which("busybox")
    if not path or libraries(path):
        raise Failed(f"{path or 'busybox'} is {'not static' if path else 'missing'}: install the "
                     "package 'busybox-static' (Debian's name)")
    return path


def firmware():
    found = next((d for d in SEABIOS if os.path.exists(f"{d}/bios-256k.bin")), None)
    if not found:
        raise Failed(f"no bios-256k.bin in {', '.join(SEABIOS)}: install the package 'seabios'")
    return found


def accelerator(icount=False, arch=kernel.X86, cpu=""):
    """QEMU's options for who executes the guest, and its machine and CPU. ACCEL=kvm is for guests
    of this host's architecture."""
    if ACCEL not in ("tcg", "kvm"):
        raise Failed(f"ACCEL={ACCEL}: there are tcg and kvm")
    if ACCEL == "kvm" and arch is kernel.X86:
        if icount:
            raise Failed("counting instructions needs TCG; run this without ACCEL=kvm")
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise Failed("ACCEL=kvm: /dev/kvm is " + (
                "not yours to open: join the group kvm" if os.path.exists("/dev/kvm") else
                "missing: no hardware virtualization here; run this without ACCEL=kvm"))
        # The emulated unit walks 4 levels.
        return ["-accel", "kvm", "-machine", "q35", "-cpu", "host,la57=off"]
    clock = ["-icount", "shift=0,sleep=off"] if icount else []
    return ["-accel", f"tcg,thread={'single' if icount else 'multi'}", *clock, "-machine",
            "q35" if arch is kernel.X86 else "virt,gic-version=3", "-cpu", cpu or arch.cpu]


def can_execute(arch):
    """Refuse what a person has asked for and this host cannot do, before anything is built."""
    if ACCEL == "kvm" and arch is not kernel.X86:
        raise Failed(f"ACCEL=kvm: this host cannot execute guests of {arch.name}; run this without "
                     "it")
    accelerator(arch=arch)


def initramfs(directory, add, command, arch=kernel.X86):
    """busybox, our init, the user's files with their libraries, and the command."""
    root = directory / "root"
    for d in ("bin", "run", "root"):
        (root / d).mkdir(parents=True)
    shutil.copy(busybox(arch), root / "bin/busybox")
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    for path in add:
        path = Path(path)
        if not path.exists():
            raise Failed(f"no such file to put into the guest: {path}")
        target = root / "root" / path.name
        if path.is_dir():
            shutil.copytree(path, target)
            continue
        refuse_foreign(path, arch)
        shutil.copy(path, target)
        target.chmod(target.stat().st_mode | 0o111)
        for library in libraries(path):
            to = root / str(library).lstrip("/")
            if not to.exists():
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, to)
    if command:
        (root / "run/command").write_text(f"PATH=/root:$PATH\n{command}\n")
    names = output("find", ".", cwd=root)
    image = directory / "initramfs.gz"
    r = subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root,
                       input=names.encode(), stdout=subprocess.PIPE, check=True)
    image.write_bytes(gzip.compress(r.stdout, 1))
    return image


def run_guest(image, machine, command=None, add=(), name="guest", timeout=120, echo=None,
              quiet=True, watch=None, expects=None):
    """Boot, run, power off. `echo` is called with every line that the program
    prints. Without a command the guest's shell has the terminal. `watch` may end
    the guest early (trial.Watch), `expects` is for troubles()."""
    packages.ensure(packages.GUEST_TOOLS)
    home = qemu.build(target=machine.arch.target)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.console.log"
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sva-guest.") as tmp:
        initrd = initramfs(Path(tmp), add, command, machine.arch)
        size = shutil.get_terminal_size()
        append = (f"console={machine.arch.console} panic=-1 oops=panic printk.devkmsg=on "
                  f"{f'loglevel={machine.arch.tells + 1} ' if quiet else ''}{machine.parameters()} "
                  f"TELLS={machine.arch.tells} "
                  f"ROWS={size.lines} COLUMNS={size.columns}")
        argv = [home / f"qemu-system-{machine.arch.target}",
                *accelerator(machine.icount, machine.arch, machine.cpu), "-smp", machine.cpus,
                "-m", machine.memory, "-nodefaults", "-display", "none", "-no-reboot",
                *(["-L", firmware(), "-L", home / "roms"] if machine.arch is kernel.X86 else []),
                "-serial", f"file:{log}",
                *(["-trace", TRACED] if command and machine.arch is kernel.ARM else []),
                "-kernel", image, "-initrd", initrd, "-append", append, *machine.arguments()]
        log.unlink(missing_ok=True)
        if command:
            text, late = watched(argv, LOGS / f"{name}.qemu.log", timeout,
                                 watch.line if watch else echo,
                                 (lambda pid: watch.over(log, pid)) if watch else None)
        else:
            text, late = "", None
            subprocess.run([str(a) for a in argv + ["-serial", "mon:stdio"]], check=False)
    console = log.read_text(errors="replace") if log.exists() else ""
    match = re.search(r"guest: exit status (\d+)", console)
    heard = read(LOGS / f"{name}.qemu.log") if command else ""
    trouble = troubles(console, late, expects) + (events(heard, console, expects) if command else [])
    if match:
        trouble = blind(trouble, machine.arch.tells, "*" not in (expects or {}))
    if not match and command:
        trouble += EVENT.sub("", heard).strip().splitlines()[-1:]
    (LOGS / f"{name}.output.log").write_text(text)
    return Result(int(match.group(1)) if match else None, text, console, log, trouble,
                  time.monotonic() - start)


def troubles(console, late, expects=None):
    """The lines that no run of ours may print, and whether it was stopped. `expects` says which
    kinds are meant: {a pattern of programs and KUnit suites: [kind]}, "" before the first."""
    console = RACE.sub(lambda race: race[0] if any(map(
        OUR_CODE.search, TOP_OF_STACK.findall(race[0]))) else "", console)
    found, running = [], ""
    for line in console.splitlines():
        begins = BEGINS.search(line)
        running = begins[1] if begins else running
        kind = next((k for k in KINDS if KINDS[k].search(line)), None)
        meant = kind and expected(expects, running, kind)
        if TROUBLE.search(line) or kind and not meant:
            found.append(line.strip())
    return found + ([late] if late else [])


def expected(expects, running, kind):
    return any(kind in kinds for name, kinds in (expects or {}).items()
               if fnmatch.fnmatchcase(running, name))


def events(heard, console, expects=None):
    """The events that an SMMU has recorded and no run of ours may cause, of each kind a line. `heard`
    is what QEMU has said, which has to have those that the kernel tells."""
    kinds = Counter(EVENT.findall(heard))
    if TOLD.search(console) and not kinds:
        return ["the kernel tells events of an SMMU, and QEMU does not"]
    ran = (begins[1] for line in console.splitlines() if (begins := BEGINS.search(line)))
    meant = MEANT | (REFUSED if any(expected(expects, name, "fences") for name in ran) else set())
    return [f"SMMUv3 has recorded {n} {kind}" for kind, n in sorted(kinds.items())
            if kind not in meant]


def blind(trouble, level, must_see=True):
    """The trouble, but for what is said to see that there can be any; it must be there, once."""
    said = [l for l in trouble if SHOWN.format(level) in l]
    rest = [l for l in trouble if l not in said]
    return rest if len(said) == 1 or not must_see else \
        rest + [f"the guest's console does not show messages of level {level}"]


def watched(argv, log, timeout, echo, over=None):
    """Run QEMU until it ends; kill it when it is over time, or over() says why."""
    with open(log, "w") as errors:
        p = subprocess.Popen([str(a) for a in argv + ["-serial", "stdio", "-monitor", "none"]],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=errors, start_new_session=True)
    end, text, line, late, look = time.monotonic() + timeout, [], b"", None, 0
    try:
        while True:
            ready, _, _ = select.select([p.stdout], [], [], 1)
            if ready:
                data = os.read(p.stdout.fileno(), 65536)
                if not data:
                    break
                *lines, line = (line + data).split(b"\n")
                for one in lines:
                    one = one.decode(errors="replace").rstrip("\r")
                    text.append(one)
                    if echo:
                        echo(one)
            if time.monotonic() > end:
                late = f"hung: killed after {timeout} s"
                break
            if over and time.monotonic() > look:
                look = time.monotonic() + 0.5
                late = over(p.pid)
                if late:
                    break
            if ACCEL == "kvm" and "KVM internal error" in read(log):
                late = f"KVM cannot run this guest ({shown(log)}); run it without ACCEL=kvm"
                break
    finally:
        try:
            if p.poll() is None:
                p.wait(0 if late else 5)
        except subprocess.TimeoutExpired:
            pass
        finally:                        # also if a second signal has come meanwhile
            if p.poll() is None:
                p.kill()
        p.wait()
    if line:
        text.append(line.decode(errors="replace"))
        if echo:
            echo(text[-1])
    return "\n".join(text) + "\n", late


def cli():
    parser = argparse.ArgumentParser(
        prog="make vm", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run programs in a guest with SVA.",
        epilog='examples:\n  make vm                                   a shell\n'
               '  make vm ADD="prog data" RUN="prog data"   prints its exit status\n'
               '  make vm UNITS=3 DEVICES=3 CPUS=4 KERNEL=debug\n'
               '  make vm ARCH=arm64                        behind two emulated SMMUv3\n')
    parser.add_argument("--add", default="", help="files to put into the guest's /root")
    parser.add_argument("--run", default="", help="shell command; none: a shell")
    parser.add_argument("--arch", default="", help=" or ".join(kernel.ARCHS))
    parser.add_argument("--kernel", default="", choices=sorted(kernel.GUESTS))
    parser.add_argument("--units", type=int, default=2, help="IOMMU units (1 to 8)")
    parser.add_argument("--devices", type=int, default=2, help="svadev functions (0 to 16)")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", type=int, default=1024, help="MiB")
    parser.add_argument("--svadev", default="", help="device properties: ats=off,pri=off,queues=4")
    parser.add_argument("--unit", default="", help="properties of all units: x-ril=off,x-msi=on")
    parser.add_argument("--append", default="", help="more kernel parameters")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for --run")
    parser.epilog += "\nACCEL=kvm uses /dev/kvm; the default is tcg, which needs nothing.\n"
    a = parser.parse_args()
    flavour = a.kernel or kernel.DEMO[kernel.arch(a.arch)]
    arch = kernel.FLAVOURS[flavour].arch
    if a.arch and kernel.arch(a.arch) is not arch:
        raise Failed(f"KERNEL={flavour} is one for {arch.name}, and ARCH={a.arch} was asked for")
    machine = Machine(a.units, a.devices, a.cpus, a.memory, a.svadev,
                      f"{kernel.FLAVOURS[flavour].append} {a.append}", a.unit, arch=arch)
    machine.arguments()
    can_execute(arch)
    packages.ensure(packages.GUEST_TOOLS)
    image = kernel.build(flavour)
    if not a.run:
        say("a shell in the guest; 'exit' ends it, Ctrl-A X kills it. /dev/svadev-* are the "
            "devices")
    # What somebody does there to the hardware is their business.
    result = run_guest(image, machine, a.run, shlex.split(a.add), "vm", a.timeout,
                       echo=say if a.run else None, expects={"*": list(KINDS)})
    if result.problem():
        raise Failed(f"{result.problem()}\n  the kernel's log: {shown(result.log)}")
    return result.status


if __name__ == "__main__":
    main(cli)
