# SPDX-License-Identifier: GPL-2.0-only
"""Spin on tests/models: every model holds, and every variant of it fails as it must.

The head of a model says what that means, in lines like

     * holds: UNORDERED
     * variants freed: NO_JOIN_FLUSH UNORDERED+ONE_PHASE

It has to hold as it is and with each of the macros after 'holds'. Each variant, some macros
joined by '+', has to violate an assertion with that word in it, or to end in a 'deadlock'.
What held is kept with the verdicts of `make check`, keyed by all that it was made from.
"""

import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import packages
from common import JOBS, ROOT, Failed, digest, main, output, passed, passes, say, shown

MODELS = ROOT / "tests/models"
# Breadth first: no limit of depth, and the shortest of all ways to fail. Not optimized: the
# searches are short, and compiling them is not.
PAN = ["-w", "-DSAFETY", "-DBFS", "-DNOREDUCE", "-DMEMLIM=512"]
HEAD = re.compile(r"^ \* (holds|variants (\w+)): +(.+)$", re.M)


def cases(model):
    """What is to be verified: macros, and the word that their failure has in it, if any."""
    wanted = [("", None)]
    for kind, why, names in HEAD.findall(model.read_text()):
        wanted += [(name, why if kind != "holds" else None) for name in names.split()]
    return wanted


def search(model, macros):
    """What pan reports about all states of a model."""
    with tempfile.TemporaryDirectory() as tmp:
        for source in (*MODELS.glob("*.h"), model):
            shutil.copy(source, tmp)
        defines = [f"-D{macro}" for macro in macros.split("+") if macro]
        output("spin", *defines, "-a", model.name, cwd=tmp)
        output("gcc", *PAN, "-o", "pan", "pan.c", cwd=tmp)
        return output("./pan", "-w20", cwd=tmp, check=False)


def verdict(report):
    """How a search ended: the violation, 'holds', or why neither can be said."""
    error = re.search(r"^pan:\d+: (.+) \(at depth \d+\)", report, re.M)
    if error:
        return error[1].replace("invalid end state", "deadlock")
    if "errors: 0" not in report or "not completed" in report or "too small" in report:
        return "search not completed"
    dead = re.findall(r'^\t(\S+), state \d+, "(?!-end-)', report, re.M)
    return f"never gets to {', '.join(dead)}" if dead else "holds"


def problem(model, macros, why):
    """A case that ended otherwise than it must, in words; None if it did not."""
    name = f"{shown(model)}{': ' if macros else ''}{macros}"
    try:
        found = verdict(search(model, macros))
    except Failed as e:
        return f"{name}: {e}"
    if why is None:
        return None if found == "holds" else f"{name}: does not hold: {found}"
    if re.search(rf"\b{why}\b", found):
        return None
    return f"{name}: must violate '{why}', but: {found}"


def check_models():
    """Verify all models; the problems found."""
    spin, headers, bad = output("spin", "-V"), sorted(MODELS.glob("*.h")), []
    for model in sorted(MODELS.glob("*.pml")):
        wanted = cases(model)
        key = "model-" + digest(spin, model, *headers, Path(__file__))
        found = []
        if not passed(key):
            with ThreadPoolExecutor(JOBS) as pool:
                found = [p for p in pool.map(lambda case: problem(model, *case), wanted) if p]
            if not found:
                passes(key)
        variants = sum(why is not None for _, why in wanted)
        say(f"  model {model.stem}: " + (f"{len(found)} problems" if found else
                                         f"holds; {variants} variants fail as they must"))
        bad += found
    return bad


def cli():
    packages.ensure(packages.BUILD_TOOLS, packages.CHECK_TOOLS)
    bad = check_models()
    for line in bad:
        say(f"not ok  {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    main(cli)
