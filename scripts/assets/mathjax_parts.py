"""The parts of MathJax that the pages need, as one script.

MathJax is compiled from TypeScript, and each of its 200 modules carries its own copy of
TypeScript's helper functions, differing in the names of local variables alone. Here each stands
once, which saves 94 KB of 761. A copy goes only if it is the first one up to these names.
"""

import json
import re
from pathlib import Path

# MathJax's own combinations of these also hold the menu, a third of their size. assistive-mml
# gives screen readers MathML.
PARTS = ["startup", "core", "input/tex", "output/chtml", "output/chtml/fonts/tex.js",
         "a11y/assistive-mml"]
HELPER = re.compile(r"this&&this\.__(extends|values|read|spreadArray)\|\|")
NAME = re.compile(r"(?<![\w$.])(?!(?:if|in|do|of)\b)[A-Za-z_$]{1,2}(?![\w$])")
STORE = "MathJaxHelpers"


def expression(text: str, start: int) -> str:
    """The function or bracket that begins at `start`, to its last bracket."""
    depth, inside = 0, None
    for at in range(start, len(text)):
        sign = text[at]
        if inside:
            inside = None if sign == inside and text[at - 1] != "\\" else inside
        elif sign in "\"'":
            inside = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
            # function(a,b){...} has two brackets at the outermost level, (...) has one.
            if depth == 0 and (sign == "}" or text[start] == "("):
                return text[start : at + 1]
    raise ValueError(f"no end to the expression {text[start : start + 60]!r}")


def shape(code: str) -> str:
    """The code with its local names numbered in the order in which they occur."""
    numbers = {}
    return NAME.sub(lambda m: f"v{numbers.setdefault(m[0], len(numbers))}", code)


def share_helpers(script: str) -> str:
    """The script with each of TypeScript's helpers written once, at its beginning."""
    first, shapes, out, at = {}, {}, [], 0
    for found in HELPER.finditer(script):
        name, code = found[1], expression(script, found.end())
        if shapes.setdefault(name, shape(code)) != shape(code):
            continue
        first.setdefault(name, code)
        out += [script[at : found.start()], f"{STORE}.{name}"]
        at = found.end() + len(code)
    # (n=function ...) keeps itself in a variable of its module.
    own = {name: re.sub(r"\A\((\w+)=(.*)\Z", r"function(){var \1;return(\1=\2}()", code)
           for name, code in first.items()}
    store = ",".join(f"{name}:{code}" for name, code in own.items())
    return f"var {STORE}={{{store}}};\n" + "".join([*out, script[at:]])


def combine(folder: Path) -> str:
    """MathJax's loader, the list of what is there, and the parts; it starts after the last one."""
    first, *rest = ((folder / part).with_suffix(".js").read_text("utf-8") for part in PARTS)
    return share_helpers(
        "\n".join([first, f"MathJax.loader.preLoad(...{json.dumps(PARTS)});", *rest])
    )
