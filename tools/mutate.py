# SPDX-License-Identifier: GPL-2.0-only
"""Operators that break C code: where a file has something to break, and the code instead.

They know the kernel's style, not C: comments, strings and directives of the preprocessor are
blanked out, functions are split into statements, and an operator looks at these. What they make
need not compile. Lines stay where they are, so that line numbers in an object file do.
"""

import bisect
import difflib
import re
from collections import Counter
from dataclasses import dataclass, field

from common import digest

BLANKED = re.compile(r"""
    /\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])+'
    | ^[ \t]*\#(?:[^\n]*\\\n)*[^\n]*""", re.S | re.M | re.X)
HEAD = re.compile(r"(if|while|for|switch|scoped_guard|\w*for_each\w*)\s*\(")
LABEL = re.compile(r"(?:case\b[^:;]*|default|\w+)\s*:(?!:)")
LVALUE = r"\*?[A-Za-z_]\w*(?:(?:->|\.)\w+|\[[^\]]*\])*"
ASSIGNMENT = re.compile(rf"{LVALUE}\s*(?:[|&^+*/%-]|<<|>>)?=(?!=)|{LVALUE}\s*(?:\+\+|--);"
                        rf"|(?:\+\+|--){LVALUE};", re.S)
CALL = re.compile(r"(?:\(void\))?(?:[A-Za-z_]\w*(?:->|\.))*([A-Za-z_]\w*)\s*\(")
# Calls whose absence no test can see, or any run does: messages and assertions; barriers, which
# the litmus tests and the models are for; locks that are not taken, which lockdep reports.
NOT_DROPPED = re.compile(
    r"(?:pr|dev|pci|netdev)_(?:emerg|alert|crit|err|warn|notice|info|dbg)|\w*_ratelimited"
    r"|\w*WARN\w*|BUG\w*|BUILD_\w+|\w*assert\w*|might_\w+|lockdep_\w+|trace_\w+|cond_resched\w*|cpu_relax"
    r"|prefetch\w*|smp_\w*mb\w*|dma_\w*mb|[rw]?mb|barrier\w*|guard"
    r"|(?:\w+_)?(?:lock|down|trylock)(?:_\w+)?|(?:preempt|local_irq|local_bh|migrate)_\w+")
ERROR_END = re.compile(r"goto \w+;|return (?:.*-E[A-Z]+.*|ERR_CAST\(.*\)|\w*err\w*|\w*ret\w*|NULL"
                       r"|false);", re.S)
COMPARISON = re.compile(r"(?<= )(<=?|>=?)(?= )")
TURNED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
OPERATORS = {
    "call": "a call left out",
    "rollback": "a call left out where an error is undone",
    "assignment": "an assignment left out",
    "swap": "two statements in the other order",
    "negate": "a condition turned into its opposite",
    "operand": "a part of a condition left out",
    "bound": "off by one",
    "error": "an error that is not returned",
}


@dataclass
class Statement:
    start: int
    end: int
    text: str                           # without comments and strings
    block: int
    alone: bool                         # what an if, else or loop is about, without braces
    after_label: bool                   # of its function's outermost block


@dataclass
class Head:
    word: str
    start: int
    open: int                           # of its parentheses
    close: int


@dataclass
class Function:
    name: str
    start: int
    end: int
    statements: list = field(default_factory=list)
    heads: list = field(default_factory=list)


@dataclass(frozen=True)
class Site:
    """A place in a file, and what an operator makes of it."""
    file: str
    function: str
    operator: str
    text: str                           # what stood there, on one line
    number: int                         # of those that are alike so far
    start: int
    end: int
    new: str

    @property
    def key(self):
        return digest(self.file, self.function, self.operator, self.text, str(self.number))

    @property
    def name(self):
        stem = re.sub(r"\.c$", "", self.file.removeprefix("drivers/iommu/")).replace("/", "-")
        return f"{stem}-{self.operator}-{self.key[:6]}"

    @property
    def about(self):
        return f"{self.file}, {self.function}(): {OPERATORS[self.operator]}: {self.text}"

    def patch(self, source):
        """The mutant as a git patch."""
        new = source[:self.start] + self.new + source[self.end:]
        lines = difflib.unified_diff(source.splitlines(True), new.splitlines(True),
                                     f"a/{self.file}", f"b/{self.file}")
        return f"diff --git a/{self.file} b/{self.file}\n" + "".join(lines)


def blanked(source):
    """The code alone; everything else is spaces, and all stands where it stood."""
    return BLANKED.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), source)


def closing(code, at):
    """Where the bracket closes that opens there."""
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] in "([{") - (code[i] in ")]}")
        if not depth:
            return i
    return len(code) - 1


def functions(code):
    """The functions that a file defines."""
    at, found = 0, []
    while (at := code.find("{", at)) >= 0:
        end = closing(code, at)
        before = code[:at].rstrip()
        if before.endswith(")"):
            top = before.rfind("\n\n") + 1
            name = re.search(r"(\w+)\s*\((?!\()", code[top:at])
            if name:
                found.append(split(code, Function(name[1], at, end)))
        at = end + 1
    return found


def split(code, function):
    """A function's statements, and the heads of its conditions and loops."""
    at, blocks, count, alone, label = function.start + 1, [0], 0, False, False
    while at < function.end:
        word = re.compile(r"\s*").match(code, at).end()
        head, marked = HEAD.match(code, word), LABEL.match(code, word)
        prefix = re.compile(r"(?:else|do)\b").match(code, word)
        if word >= function.end:
            break
        if code[word] == "{":
            count += 1
            blocks.append(count)
            at, alone = word + 1, False
        elif code[word] == "}":
            blocks.pop()
            at, alone = word + 1, False
        elif code[word] == ";":
            at, alone = word + 1, False
        elif head:
            end = closing(code, head.end() - 1)
            function.heads.append(Head(head[1], word, head.end() - 1, end))
            at, alone = end + 1, True
        elif prefix:
            at, alone = prefix.end(), True
        elif marked:
            label = label or len(blocks) == 1 and not re.match("case|default", marked[0])
            at = marked.end()
        else:
            end = ending(code, word)
            if code[end] == "{":        # of a macro that begins a loop
                at = end
                continue
            function.statements.append(Statement(word, end + 1, code[word:end + 1], blocks[-1],
                                                 alone, label and len(blocks) == 1))
            at, alone = end + 1, False
    return function


def ending(code, at):
    """The semicolon that ends a statement, or the brace before which it is none."""
    while code[at] != ";":
        if code[at] == "{" and code[:at].rstrip().endswith(")"):
            return at
        at = closing(code, at) + 1 if code[at] in "([{" else at + 1
    return at


# --- the operators: each yields (start, end, code instead, what stood there) ---

def called(statement):
    """The function that a statement calls and no more, unless nobody could tell."""
    match = CALL.match(statement.text)
    if match and closing(statement.text, match.end() - 1) == len(statement.text) - 2 \
            and not NOT_DROPPED.fullmatch(match[1]):
        return match[1]
    return None


def without(statement, source):
    text = source[statement.start:statement.end]
    lines = "\n" * text.count("\n")
    if statement.alone:
        return statement.start, statement.end, "{ }" + lines, text
    indented = len(source[:statement.start].rstrip(" \t"))
    return indented, statement.end, lines, text


def undoes(statement, function):
    """Whether it stands where an error is undone."""
    if statement.after_label:
        return True
    last = [s for s in function.statements if s.block == statement.block][-1]
    return statement.block > 0 and bool(ERROR_END.fullmatch(last.text))


def calls(function, source):
    for s in function.statements:
        if called(s) and not undoes(s, function):
            yield without(s, source)


def rollbacks(function, source):
    for s in function.statements:
        if called(s) and undoes(s, function):
            yield without(s, source)


def assignments(function, source):
    for s in function.statements:
        if ASSIGNMENT.match(s.text):
            yield without(s, source)


def swaps(function, source):
    for a, b in zip(function.statements, function.statements[1:]):
        between = source[a.end:b.start]
        stored = [s for s in (a, b) if ASSIGNMENT.match(s.text)
                  and re.match(r"\*|\w+(->|\.)", s.text)]
        both = [bool(called(s)) and "unlock" not in called(s) for s in (a, b)]
        if a.block == b.block and not a.alone and not b.alone and a.text != b.text and \
                not blanked(between).strip() and any(both) and sum(both) + len(stored) == 2:
            one, two = source[a.start:a.end], source[b.start:b.end]
            yield a.start, b.end, two + between + one, f"{one} {two}"


def negations(function, source):
    for h in function.heads:
        inner = source[h.open + 1:h.close]
        if h.word == "if" and "WARN" not in inner and "IS_ENABLED" not in inner:
            new = inner[1:] if re.fullmatch(r"!\w+", inner) else \
                f"!{inner}" if re.fullmatch(r"\w+", inner) else f"!({inner})"
            yield h.open + 1, h.close, new, f"if ({inner})"
    for s in function.statements:
        match = re.fullmatch(r"return (true|false);", s.text)
        if match:
            yield s.start, s.end, f"return {'false' if match[1] == 'true' else 'true'};", s.text


def operands(function, source):
    for h in function.heads:
        inner = source[h.open + 1:h.close]
        code, parts, words, at, i = blanked(inner), [], [], 0, 0
        while i < len(code):
            if code[i] in "([{":
                i = closing(code, i)
            elif code[i:i + 2] in ("&&", "||"):
                parts.append(inner[at:i].strip())
                words.append(code[i:i + 2])
                at = i = i + 2
                continue
            i += 1
        parts.append(inner[at:].strip())
        if h.word not in ("if", "while") or len(set(words)) != 1:
            continue
        for n, part in enumerate(parts):
            kept = f" {words[0]} ".join(p for m, p in enumerate(parts) if m != n)
            if "WARN" not in part:
                lines = "\n" * max(0, inner.count("\n") - kept.count("\n"))
                yield h.open + 1, h.close, kept + lines, f"{part}, of {h.word} ({inner})"


def bounds(function, source):
    code = blanked(source[function.start:function.end])
    for m in COMPARISON.finditer(code):
        start = function.start + m.start()
        yield start, start + len(m[0]), TURNED[m[0]], None
    for m in re.finditer(r" [+-] 1\b(?!\w| <<)", code):
        yield function.start + m.start(), function.start + m.end(), "", None


def errors(function, source):
    for s in function.statements:
        if re.fullmatch(r"return -E\w+;", s.text) or \
                re.fullmatch(r"return (?:ret|err|rc);", s.text) and s.block > 0:
            yield s.start, s.end, "return 0;", s.text
        elif re.fullmatch(r"return ERR_(?:PTR|CAST)\([^;]*\);", s.text):
            yield s.start, s.end, "return NULL;", s.text


MAKERS = {"call": calls, "rollback": rollbacks, "assignment": assignments, "swap": swaps,
          "negate": negations, "operand": operands, "bound": bounds, "error": errors}


def sites(file, source, lines=None):
    """All mutants of a file whose code stands on these lines (none: on any)."""
    code, seen, found = blanked(source), Counter(), []
    starts = [0, *(m.end() for m in re.finditer("\n", source))]
    for function in functions(code):
        for operator, make in MAKERS.items():
            for start, end, new, text in make(function, source):
                first, last = (bisect.bisect_right(starts, at) for at in (start, end - 1))
                if lines is not None and not set(range(first, last + 1)) <= lines:
                    continue
                if text is None:        # a line says more than two characters
                    before, after = source[starts[first - 1]:start], source[end:].split("\n", 1)[0]
                    text = f"{before}[{source[start:end].strip()}]{after}"
                text = " ".join(text.split())
                seen[function.name, operator, text] += 1
                found.append(Site(file, function.name, operator, text,
                                  seen[function.name, operator, text], start, end, new))
    return found
