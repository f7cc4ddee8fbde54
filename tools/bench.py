# SPDX-License-Identifier: GPL-2.0-only
"""make bench: the base's way against the series', measured in turns; a table, CSV and plots.

What is measured, and how far it can be believed, is in doc/benchmarks.md. A missed goal is
a result. An error is only what could not be measured, or counted wrong.
"""

import argparse
import csv
import io
import os
import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import kernel
import packages
import qemu
import selftests
import vm
from common import (BUILD, LOGS, ROOT, Failed, Progress, bold, main, output, read, say, shown,
                    write_atomically)
from patchqueue import LINUX

SOURCE = ROOT / "bench"
OUT = BUILD / "bench"
SAVED = ROOT / "doc/bench"
WAYS = ("base", "series")
FLAVOUR = {"base": "bench-base", "series": "bench"}
SMMU = {"base": "bench-arm64-base", "series": "bench-arm64"}
BOUND = {"base": "bench-core", "series": "bench"}       # the base itself cannot bind
PLOTS = ("driver", "smmu", "instances", "scaling", "software", "mm")
PAIRS = 6                               # of guests, one of each way, after a pair to warm up
DRIVER_PAIRS = 3                        # of those that measure the driver, and bound processes
SLOW = ("instances", "threads", "bind", "bind_one_device", "bind_one_group")
FAST = ("elements", "attach", "one")
DRIVER = ("commands", "stack", "flush", "irqsoff", "two_threads")
SMMU_CASES = ("commands", "callbacks", "tables", "flush", "unmap", "irqsoff", "two_threads")
# The parts that ONLY= names, in the order of the table, and which rows each measures.
ROWS = {"vtd": r"vtd-", "smmu": r"smmu-", "pages": r"page-",
        "core": r"instances|threads|bind|one|elements|attach", "mm": r"munmap|vmalloc"}
LINE = re.compile(r"bench: ([\w-]+),(\d+),(\d+),(\w+),(\d+),(\d+),(\d+)")
CHANGES = {"munmap": "munmap", "mprotect": "mprotect to read-only",
           "fork": "fork and writes", "pageout": "reclaim"}

# A clock that can be read without leaving the emulated CPU, and nothing that comes and goes.
APPEND = "tsc=reliable clocksource=tsc"     # arm64 has no other one

# Mean times of the base's own test of vmalloc() and vfree(), which goes to the kernel's log;
# it never stays loaded.
VMALLOC = "".join(
    f"insmod test_vmalloc.ko run_test_mask=1 nr_pages={pages} test_loop_count={loops}"
    f"{' use_huge=1' if pages == 512 else ''} 2>/dev/null; echo vmalloc {pages};"
    "dmesg -c | grep Summary:\n"
    for pages, loops in ((1, 6000), (64, 400), (512, 60)) for _ in range(3))


@dataclass(frozen=True)
class Key:
    """What a value belongs to; the parameter is a latency, x is on the axis."""
    row: str
    parameter: int
    x: int
    way: str


# --- measuring ---

def program(name, *flags):
    target, source = OUT / name, SOURCE / f"{name}.c"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        OUT.mkdir(parents=True, exist_ok=True)
        output("gcc", "-static", "-O2", "-Wall", *flags, "-o", target, source)
    return target


def pages_program():
    return program("pages", f"-I{selftests.headers()}",
                   f"-I{LINUX.tree}/tools/testing/selftests/iommu")


def printed(text):
    """The lines of measurements: (row, parameter, x, way, (low, median, high))"""
    return [(row, int(parameter), int(x), way, tuple(map(int, values)))
            for row, parameter, x, way, *values in LINE.findall(text)]


def trusted(result):
    if result.problem() or result.status:
        raise Failed(f"{result.problem() or f'exit status {result.status}'}\n"
                     f"  the kernel's log: {shown(result.log)}")
    return result


def suites(image, name, glob, cases, machine):
    """What the KUnit suites print; every case has to pass."""
    clock = APPEND if machine.arch is kernel.X86 else ""
    machine.append += f" {clock} kunit.enable=1 kunit.filter_glob={glob} loglevel=8"
    result = trusted(vm.run_guest(image, machine, "exit 0", (), name, 400, quiet=False))
    bad = re.findall(r"# \w+: (?:EXPECTATION|ASSERTION) FAILED.*(?:\n.*){3}|not ok \d+ .*",
                     result.console)
    missing = [c for c in cases if not re.search(rf" ok \d+ {c}\b(?!.*SKIP)", result.console)]
    if bad or missing:
        raise Failed("\n  ".join([f"the suites {glob} did not pass:", *bad[:5],
                                  *(f"no result: {c}" for c in missing),
                                  f"the kernel's log: {shown(result.log)}"]))
    return printed(result.console)


def kunit(image):
    """Times of all cases; of those without hardware the instructions, too."""
    progress = Progress("walks and bonds, in a guest of two CPUs (90 s)")
    times = suites(image, "bench-kunit", "iommu_bench*", SLOW + FAST,
                   vm.Machine(units=1, devices=0))
    progress.done()
    progress = Progress("instructions, in a guest whose clock counts them")
    counts = suites(image, "bench-icount", "iommu_bench*", FAST,
                    vm.Machine(units=1, devices=0, cpus=1, icount=True,
                               append="kunit.filter=speed>slow"))
    progress.done()
    data = {Key(row, *key): values for row, *key, values in times}
    data.update({Key(f"{row}-instructions", *key): values for row, *key, values in counts
                 if not row.startswith("one-")})
    return data


def turns(title, measure):
    """What measure(way, number) prints of both ways in turns; the medians over the runs. The way
    is that of the kernel, where what is printed does not know it."""
    progress = Progress(title, total=2 * DRIVER_PAIRS)
    seen = {}
    for number in range(DRIVER_PAIRS):
        for way in WAYS if number % 2 else reversed(WAYS):
            for row, parameter, x, who, values in measure(way, number):
                key = Key(row, parameter, x, way if who == "driver" else who)
                seen.setdefault(key, []).append(values)
            progress.tick()
    progress.done()
    return {key: tuple(map(statistics.median, zip(*runs))) for key, runs in seen.items()}


def driver(images):
    return turns("the VT-d driver of both kernels in turns", lambda way, number: suites(
        images[way], f"bench-driver-{way}-{number}", "intel_iommu_bench", DRIVER,
        vm.Machine(units=1, devices=0)))


def smmu(images):
    return turns("the SMMUv3 driver of both kernels in turns", lambda way, number: suites(
        images[way], f"bench-smmu-{way}-{number}", "arm_smmu_bench", SMMU_CASES,
        vm.Machine(units=1, devices=0, arch=kernel.ARM)))


def pages(images):
    """Processes that are bound, on the series and on its part that lets processes bind."""
    add = [pages_program()]

    def measure(way, number):
        machine = vm.Machine(append=f"{APPEND} kunit.enable=0")
        name = f"bench-pages-{way}-{number}"
        lines = printed(trusted(vm.run_guest(images[way], machine, "./pages", add, name,
                                             240)).text)
        if len(lines) != 3 * (machine.devices + 1) * len(CHANGES):
            raise Failed(f"a guest has not measured everything; see {shown(LOGS)}/"
                         f"{name}.output.log")
        return lines

    return turns("pages of bound processes, both kernels in turns", measure)


def boot(way, image, number, icount):
    """One guest's medians of munmap() and vmalloc(): {(row, pages): ns or instructions}."""
    add = [program("munmap"), *(kernel.modules(FLAVOUR[way], image))]
    rounds = 3 if icount else 10
    script = (f"mv *.test_vmalloc.ko test_vmalloc.ko; dmesg -c >/dev/null; ./munmap {rounds}\n"
              f"{VMALLOC}exit 0\n")
    name = f"bench-{way}-{'icount' if icount else number}"
    machine = vm.Machine(cpus=1 if icount else 2, icount=icount,
                         append=f"{APPEND} kunit.enable=0")
    result = trusted(vm.run_guest(image, machine, script, add, name, 240))
    values = {}
    for pages, ns in re.findall(r"bench: munmap,0,(\d+),(\d+)", result.text):
        values.setdefault(("munmap", int(pages)), []).append(int(ns))
    for pages, text in re.findall(r"(?s)vmalloc (\d+)\n(.*?)(?=vmalloc|$)", result.text):
        # insmod tries twice, because the module refuses to stay.
        for loops, usec in re.findall(r"passed: 1 failed: 0 .*loops: (\d+) avg: (\d+)", text):
            values.setdefault(("vmalloc", int(pages)), []).append(int(usec) * 1000 / int(loops))
    if len(values) != 6:
        raise Failed(f"a guest has measured only {sorted(values)}; see {shown(LOGS)}/"
                     f"{name}.output.log")
    return {key: statistics.median(v) for key, v in values.items()}


def boots(images, pairs, icount):
    """Guests of both kernels in turns, the order changing; what each measured."""
    progress = Progress("munmap() and vmalloc() without SVA, both kernels in turns"
                        + (", instructions" if icount else ""), total=2 * pairs)
    seen = {way: [] for way in WAYS}
    for pair in range(pairs):
        for way in WAYS if pair % 2 else reversed(WAYS):
            seen[way].append(boot(way, images[way], pair, icount))
            progress.tick()
    progress.done()
    return {way: values[pairs > 1:] for way, values in seen.items()}


def mm(images):
    return {**summary(boots(images, PAIRS + 1, False)),
            **summary(boots(images, 1, True), "-instructions")}


def spread(values):
    return min(values), statistics.median(values), max(values)


def summary(seen, suffix=""):
    """Of the guests: the values each way, and the ratios of those that ran in a pair."""
    data = {}
    for row, pages in seen["base"][0]:
        base, series = ([v[row, pages] for v in seen[way]] for way in WAYS)
        data[Key(f"{row}{suffix}", 0, pages, "base")] = spread(base)
        data[Key(f"{row}{suffix}", 0, pages, "series")] = spread(series)
        data[Key(f"{row}{suffix}-ratio", 0, pages, "series")] = spread(
            [s / b for b, s in zip(base, series)])
    return data


def measure(parts):
    """What these parts measure, each with the kernels that it needs, which are built first."""
    flavours = {part: FLAVOUR for part in parts} | {"smmu": SMMU, "pages": BOUND}
    images = {part: {way: kernel.build(flavours[part][way]) for way in WAYS} for part in parts}
    run = {"vtd": driver, "smmu": smmu, "pages": pages, "mm": mm,
           "core": lambda images: kunit(images["series"])}
    return {part: run[part](images[part]) for part in parts}


def number(text):
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def saved():
    """The last saved run, by part."""
    file = SAVED / "bench.csv"
    data = {part: {} for part in ROWS}
    for line in csv.DictReader(read(file).splitlines()):
        part = next((p for p in ROWS if re.match(ROWS[p], line["row"])), None)
        if not part:
            raise Failed(f"{shown(file)}: no part has the row {line['row']}")
        key = Key(line["row"], int(line["parameter"]), int(line["x"]), line["way"])
        data[part][key] = tuple(number(line[c]) for c in ("low", "median", "high"))
    missing = [part for part, rows in data.items() if not rows]
    if missing:
        raise Failed(f"{shown(file)} has no {', '.join(missing)}: measure all, without ONLY=")
    return data


# --- reporting ---

def us(ns):
    return f"{ns / 1000:.1f} us"


class Report:
    def __init__(self, data):
        self.data = data

    def median(self, *key):
        return self.data[Key(*key)][1]

    def both(self, row, parameter, x):
        return [self.median(row, parameter, x, way) for way in WAYS]

    def parameters(self, row):
        return sorted({k.parameter for k in self.data if k.row == row})

    def xs(self, row):
        return sorted({k.x for k in self.data if k.row == row})

    def rows(self):
        """(measurement, base, series, ratio, goal, whether it is met or None)"""
        yield from self.commands()
        yield from self.stack()
        yield from self.instances("vtd-flush", "driver: flush of 8 units")
        yield from self.irqsoff("vtd-irqsoff", "driver: interrupts off, {} unit")
        yield from self.scaling("vtd-threads", "driver: 2 threads flush one domain")
        yield from self.smmu()
        yield from self.pages()
        yield from self.instances("instances", "flush of 8 instances")
        yield from self.scaling("threads", "2 threads flush one domain")
        yield from self.scaling("bind", "2 processes bind and unbind")
        # One at a time, both ways: the driver works under the mutex of the group.
        yield from self.scaling("bind-device", "2 processes bind one device", None)
        yield from self.scaling("bind-group", "2 processes bind one group", None)
        yield from self.one()
        yield from self.software()
        yield from self.mm()

    def commands(self):
        names = {"sva": "SVA", "sva-all": "SVA, full flush", "second-level": "second level",
                 "parent": "nested parent"}
        yield from self.counts("vtd", {name: f"driver: {names[name]}" for name in names}, "unit")

    def counts(self, prefix, names, unit):
        """What is counted, and the limit of it"""
        for key in [k for k in self.data if k.way == "limit" and k.row.startswith(f"{prefix}-")]:
            what, name = re.fullmatch(rf"{prefix}-([a-z]+)-([\w-]+)", key.row).groups()
            base, series = self.both(key.row, key.parameter, key.x)
            limit = self.data[key][1]
            yield (f"{names[name]}, {key.x} behind {key.parameter} "
                   f"{unit}{'s' * (key.parameter > 1)}, {what}", base, series,
                   f"{series / base:.2f}", f"= {limit:.0f}", series == limit)

    def smmu(self):
        names = {"sva": "SVA", "sva-no-ats": "SVA without ATS", "vm": "VM"}
        yield from self.counts("smmu", {name: f"SMMUv3: {names[name]}" for name in names}, "SMMU")
        for row, about in (("smmu-wall-sva", "SVA"), ("smmu-wall-vm", "VM")):
            for latency in self.parameters(row):
                base, series = self.both(row, latency, 8)
                # The TLB, then the ATC
                two = 2 * latency * 1000
                yield (f"SMMUv3: {about}, flush of 8 SMMUs, L = {latency} us", us(base),
                       us(series), f"{series / two:.2f} x 2L" if two else f"{series / base:.2f}",
                       "<= 1.15 x 2L" if two else "", series <= 1.15 * two if two else None)
        yield from self.irqsoff("smmu-irqsoff", "SMMUv3: interrupts off, {} SMMU")
        yield from self.scaling("smmu-threads", "SMMUv3: 2 threads flush one SMMU")

    def stack(self):
        for x in self.xs("vtd-stack-lines"):
            base, series = self.both("vtd-stack-lines", 0, x)
            yield ("driver: flush of one attachment, lines of the stack written", base, series,
                   f"{series / base:.2f}", "", None)

    def irqsoff(self, row, about):
        for latency in self.parameters(row):
            for x in self.xs(row):
                base, series = self.both(row, latency, x)
                yield (f"{about.format(x)}{'s' * (x > 1)}, {latency} us each",
                       us(base), us(series), f"{series / base:.3f}", "<= 0.1 x latency",
                       series <= 0.1 * latency * 1000)

    def pages(self):
        for change, about in CHANGES.items():
            row = f"page-{change}"
            for nr in self.parameters(row):
                x, = self.xs(row)
                where = f"{nr} function{'s' * (nr != 1)} bound"
                base, series = self.both(row, nr, x)
                yield (f"{about}, {where}, each of {x} pages", us(base), us(series),
                       f"{series / base:.2f}", "", None)
                for what in ("commands", "waits") if nr else ():
                    base, series = (v / x for v in self.both(f"{row}-{what}", nr, x))
                    yield (f"{about}, {where}, {what} per page", f"{base:.3f}",
                           f"{series:.3f}", f"{series / base:.2f}" if base else "",
                           "<= base", series <= base)

    def instances(self, row, about):
        for latency in self.parameters(row):
            one, eight = (self.median(row, latency, x, "series") for x in (1, 8))
            base = self.median(row, latency, 8, "base")
            yield (f"{about}, {latency} us each", us(base), us(eight),
                   f"{eight / one:.2f} x one", "<= 1.15 x one" if latency else "",
                   eight / one <= 1.15 if latency else None)

    def scaling(self, row, about, goal=1.8):
        for latency in self.parameters(row):
            gain = [self.median(row, latency, 1, way) / self.median(row, latency, 2, way)
                    for way in WAYS]
            yield (f"{about}, {latency} us", *(f"x {g:.2f}" for g in gain),
                   f"{gain[1] / gain[0]:.2f}", f">= x {goal}" if goal else "",
                   gain[1] >= goal if goal else None)

    def one(self):
        for row, about, goal in (("one", "flush, ns", ""),
                                 ("one-instructions", "flush, instructions", "<= base"),
                                 ("one-lines", "flush, cache lines", "<= base"),
                                 ("one-lines-written", "flush, lines written", "<= base"),
                                 ("one-allocations", "attach, allocations", "<= base")):
            base, series = self.both(row, 0, 1)
            yield (f"one attachment: {about}", base, series,
                   f"{series / base:.2f}", goal, series <= base if goal else None)

    def software(self):
        for row, about in (("elements", "flush of {} elements, instructions"),
                           ("attach", "attach and detach beside {}, instructions")):
            for x in self.xs(row):
                base, series = self.both(f"{row}-instructions", 0, x)
                yield (about.format(x), base, series, f"{series / base:.2f}", "", None)

    def mm(self):
        for row in ("munmap", "vmalloc"):
            for x in self.xs(row):
                base, series = self.both(row, 0, x)
                low, ratio, high = self.data[Key(f"{row}-ratio", 0, x, "series")]
                yield (f"{row} of {x} page{'s' * (x > 1)}, no SVA", us(base), us(series),
                       f"{ratio:.3f} ({low:.3f}..{high:.3f})", "1 in range", low <= 1 <= high)
        for row in ("munmap", "vmalloc"):
            for x in self.xs(row):
                base, series = self.both(f"{row}-instructions", 0, x)
                yield (f"{row} of {x} page{'s' * (x > 1)}, instructions", f"{base:.0f}",
                       f"{series:.0f}", f"{series / base:.4f}", "", None)

    def text(self):
        lines = [("", "base", "series", "ratio", "goal", "")]
        for *cells, met in self.rows():
            lines.append((*map(str, cells), {None: "", True: "met", False: "missed"}[met]))
        widths = [max(len(l[n]) for l in lines) for n in range(6)]
        return "".join(
            f"{l[0]:{widths[0]}}  {l[1]:>{widths[1]}}  {l[2]:>{widths[2]}}  {l[3]:>{widths[3]}}  "
            f"{l[4]:{widths[4]}}  {l[5]}".rstrip() + "\n" for l in lines)

    def csv(self):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", "parameter", "x", "way", "low", "median", "high"])
        for key, values in self.data.items():
            writer.writerow([key.row, key.parameter, key.x, key.way,
                             *(f"{v:.6g}" if isinstance(v, float) else v for v in values)])
        return text.getvalue()


def plots(table):
    """{name: SVG} of every script in bench/."""
    made = {}
    with tempfile.TemporaryDirectory(prefix="sva-bench.") as tmp:
        for name in PLOTS:
            target = Path(tmp) / f"{name}.svg"
            output("gnuplot", "-e", f"csv='{table}'; out='{target}'", SOURCE / "style.gp",
                   SOURCE / f"{name}.gp")
            made[f"{name}.svg"] = target.read_text()
    return made


def publish(report, save, note):
    table = OUT / "bench.csv"
    write_atomically(table, report.csv())
    files = {"bench.csv": report.csv(), "table.txt": report.text() + note, **plots(table)}
    for folder in [OUT] + ([SAVED] if save else []):
        for name, text in files.items():
            write_atomically(folder / name, text)
        say(f"{shown(folder)}: {', '.join(files)}")


def cli():
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--save", action="store_true", help="into doc/bench, too")
    parser.add_argument("--only", default="", help=f"parts: {', '.join(ROWS)}")
    a = parser.parse_args()
    parts = list(dict.fromkeys(a.only.split(","))) if a.only else list(ROWS)
    unknown = [p for p in parts if p not in ROWS]
    if unknown:
        raise Failed(f"ONLY={a.only}: there are {', '.join(ROWS)}")
    packages.ensure(packages.BUILD_TOOLS, packages.GUEST_TOOLS, packages.BENCH_TOOLS)
    load = os.getloadavg()[0]           # of others: before our own builds
    if load > 0.5:
        say(f"  note: this machine has something else to do (load {load:.1f}): "
            "expect noise")
    some = len(parts) < len(ROWS)
    kept = saved() if some else {}      # an error before the work, not after it
    data = {**kept, **measure(parts)}
    report = Report({key: values for part in data.values() for key, values in part.items()})
    say()
    head, *rows = report.text().splitlines()
    say(bold(head))
    say("\n".join(rows) + "\n")
    note = f"Measured: {', '.join(parts)}. The rest is of the run that was saved before.\n" if some else ""
    say(note)
    publish(report, a.save, note and f"\n{note}")


if __name__ == "__main__":
    main(cli)
