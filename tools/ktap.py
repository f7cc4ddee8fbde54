# SPDX-License-Identifier: GPL-2.0-only
"""Test results: KTAP as the kernel's own kunit_parser reads it, and JUnit for other programs."""

import functools
import importlib
import io
import re
import sys
from dataclasses import dataclass
from xml.etree import ElementTree

from patchqueue import LINUX

HEADER = re.compile(r"(?m)^.*\bK?TAP version \d+$")
# What the kernel or another CPU may print between the lines that begin a subtest.
TORN = re.compile(r"(?m)^(.*\bKTAP version 1\n)(?:(?!.*(?:# Subtest:|\b1\.\.\d|\bKTAP )).*\n)+"
                  r"(?=.*# Subtest: )")
# Lines before a failure that say why.
REASON = re.compile(r"# .*(Expected|Assert|:\d+:|error|stale|expected)|EXPECTATION FAILED"
                    r"|ASSERTION FAILED|^\s+\S.* (==|!=|<|>) ")
PLAN = re.compile(r"(\s*)1\.\.\d+\b")
RESULT = re.compile(r"(\s*)(ok|not ok) \d+\b")
STATES = {"SUCCESS": "ok", "SKIPPED": "skip"}


@dataclass
class Case:
    name: str
    state: str                          # "ok", "not ok", "skip"
    why: str = ""


def fail(name, why):
    return Case(name, "not ok", why)


@functools.cache
def parser():
    """kunit_parser of the tree, and the place where it prints what it finds wrong."""
    LINUX.assemble()
    home = str(LINUX.tree / "tools/testing/kunit")
    if home not in sys.path:
        sys.path.insert(0, home)
    module = importlib.import_module("kunit_parser")
    module.stdout = importlib.import_module("kunit_printer").Printer(io.StringIO())
    return module


def undisturbed(console):
    """KTAP whose headers are in one piece. kunit_parser does not see a subtest, and all that is
    in it has no name, if a message of another CPU is between the two lines that begin it."""
    return TORN.sub(r"\1", console)


def planned_first(lines):
    """The lines without a plan that follows results: TAP allows one there, as GLib's programs
    print with -p, and kunit_parser waits for more results behind it for ever."""
    open_levels = set()
    for line in lines:
        plan, result = PLAN.match(line), RESULT.match(line)
        if result:
            open_levels = {l for l in open_levels if l <= len(result[1])} | {len(result[1])}
        if plan and len(plan[1]) in open_levels:
            continue
        if not result and HEADER.match(line):
            open_levels = {l for l in open_levels if l < len(line) - len(line.lstrip())}
        yield line


def parse(text, separator="/"):
    """The cases of KTAP or TAP output by the names of their suites, and what the parser found
    wrong with the output as failed cases of their own."""
    if not HEADER.search(text):
        text = f"TAP version 13\n{text}"
    module = parser()
    module.stdout._output = notes = io.StringIO()
    reasons = dict(re.findall(r"ok \d+ (?:- )?(\S+) # SKIP ?(.*)", text))
    try:
        root = module.parse_run_tests(planned_first(undisturbed(text).splitlines()))
    except (ValueError, RecursionError) as e:
        return [fail("output", f"kunit_parser cannot read it: {e}")]
    cases = []

    def walk(test, path):
        for sub in test.subtests:
            name, before = [*path, sub.name.strip() or "unnamed"], len(cases)
            walk(sub, name)
            state = STATES.get(sub.status.name, "not ok")
            told = [c for c in cases[before:] if c.state == "not ok"]
            if sub.subtests and (state != "not ok" or told):
                continue                # its cases say it
            why = reasons.get(sub.name.strip(), "").strip() if state == "skip" else \
                "" if state == "ok" else reason(sub.log)
            cases.append(Case(separator.join(name), state, why))
    walk(root, [])
    wrong = re.findall(r"\[ERROR\] Test: (.*)", notes.getvalue())
    return cases + [fail("output", w) for w in wrong[:5]]


def reason(log):
    """The last diagnostics before a failure, in a line."""
    said = [re.sub(r"^\[ *[\d.]+\] ", "", l).strip(" #") for l in log if REASON.search(l)]
    return "; ".join(said[-3:])


def junit(results):
    """JUnit's XML of (suite, seconds, cases) rows."""
    root = ElementTree.Element("testsuites")
    for name, took, cases in results:
        count = {s: sum(c.state == s for c in cases) for s in ("not ok", "skip")}
        suite = ElementTree.SubElement(
            root, "testsuite", name=name, tests=str(len(cases)), failures=str(count["not ok"]),
            skipped=str(count["skip"]), time=f"{took:.1f}")
        for c in cases:
            case = ElementTree.SubElement(suite, "testcase", classname=name,
                                          name=printable(c.name))
            if c.state == "not ok":
                ElementTree.SubElement(case, "failure", message=printable(c.why))
            elif c.state == "skip":
                ElementTree.SubElement(case, "skipped", message=printable(c.why))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def printable(text):
    """Text without what XML cannot hold."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd]", "?", text)
