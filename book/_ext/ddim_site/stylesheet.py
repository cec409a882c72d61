"""A style sheet without the rules that nothing on the pages can match.

The theme's style sheets hold all of Bootstrap and of Font Awesome, 440 KB on every page. A rule
is dropped only when each of its selectors asks for a class or an id that is not among the words
given; element names, attributes and pseudo-classes never drop a rule.
"""

import re
from collections.abc import Iterator

COMMENT = re.compile(r"/\*(?!!).*?\*/", re.DOTALL)
# A string, a url(), an escaped sign, or one sign.
TOKEN = re.compile(
    r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|url\([^)"']*\)|\\.|/\*!.*?\*/|.""", re.DOTALL
)
NAME = re.compile(r"[.#]((?:[\w-]|\\.|[^\x00-\x7f])+)")
# A custom property and its value, which may hold strings and brackets in brackets.
DECLARED = re.compile(
    r"""(?<=[{;])\s*(--[\w-]+)\s*:
        (?:"[^"]*"|'[^']*'|\((?:[^()]|\([^()]*\))*\)|[^;{}"'()])*(?:;|(?=}))""", re.VERBOSE
)
NESTED = ("@media", "@supports", "@layer", "@container")
KEPT_WHOLE = ("@font-face", "@keyframes", "@-webkit-keyframes", "@page", "@property")


def rules(css: str) -> Iterator[tuple[str, str | None]]:
    """Pairs of what stands before the braces and what stands in them; None: it ends in ;."""
    prelude, body, depth = [], [], 0
    for token in TOKEN.findall(css):
        if token == "{":
            depth += 1
            if depth == 1:
                continue
        elif token == "}":
            depth -= 1
            if depth < 0:
                raise ValueError("the style sheet has a } without its {")
            if depth == 0:
                yield "".join(prelude).strip(), "".join(body)
                prelude, body = [], []
                continue
        elif token == ";" and depth == 0:
            yield "".join(prelude).strip(), None
            prelude = []
            continue
        (body if depth else prelude).append(token)
    if depth:
        raise ValueError("the style sheet ends inside a rule")


def split_list(selectors: str) -> list[str]:
    """The selectors between commas that stand in no bracket."""
    parts, depth = [""], 0
    for token in TOKEN.findall(selectors):
        depth += (token in "([") - (token in ")]") if len(token) == 1 else 0
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def names(selector: str) -> set[str]:
    """The classes and ids that an element must have; alternatives in brackets do not count."""
    bare = re.sub(r'"[^"]*"|\'[^\']*\'', "", selector)
    while bare != (bare := re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", bare)):
        pass
    return {re.sub(r"\\(.)", r"\1", name) for name in NAME.findall(bare)}


def notice(prelude: str) -> tuple[str, str]:
    """The licence comments before a selector, and the selector."""
    found = re.findall(r"/\*!.*?\*/", prelude, re.DOTALL)
    return "".join(found), re.sub(r"/\*!.*?\*/", "", prelude, flags=re.DOTALL).strip()


def trim(css: str, words: set[str], unwanted: re.Pattern | None = None) -> str:
    """`css` without the rules that need a word outside `words`.

    Selectors that consist of `unwanted` classes alone go too. Licence comments (/*! */) stay.
    """
    kept, said = [], set()
    for prelude, body in rules(COMMENT.sub("", css)):
        licences, selector = notice(prelude)
        if licences and licences not in said:
            said.add(licences)
            kept.append(licences)
        if body is None:
            if not selector.startswith("@charset") and selector:
                kept.append(f"{selector};")
        elif selector.startswith(NESTED):
            inner = trim(body, words, unwanted)
            if inner:
                kept.append(f"{selector}{{{inner}}}")
        elif selector.startswith(KEPT_WHOLE):
            kept.append(f"{selector}{{{body}}}")
        else:
            alive = [s for s in split_list(selector) if wanted(s, words, unwanted)]
            if alive and body.strip():
                kept.append(f"{','.join(alive)}{{{squeeze(body)}}}")
    return "".join(kept)


def wanted(selector: str, words: set[str], unwanted: re.Pattern | None) -> bool:
    needed = names(selector)
    if unwanted and needed and all(map(unwanted.fullmatch, needed)):
        return False
    return needed <= words


def squeeze(body: str) -> str:
    return re.sub(r"\s+", " ", body).strip()


def drop_unused_keyframes(css: str) -> str:
    """Animations that no rule names any more."""
    rest = re.sub(r"@(?:-webkit-)?keyframes\s+[\w-]+", "", css)
    kept = []
    for prelude, body in rules(css):
        licences, selector = notice(prelude)
        found = re.match(r"@(?:-webkit-)?keyframes\s+([\w-]+)", selector)
        if found and not re.search(rf"animation[\w-]*:[^;}}]*\b{re.escape(found[1])}\b", rest):
            kept.append(licences)
        else:
            kept.append(f"{prelude};" if body is None else f"{prelude}{{{body}}}")
    return "".join(kept)


def drop_unused_variables(css: str, elsewhere: str) -> str:
    """Without the custom properties that neither a rule nor the text `elsewhere` reads."""
    read = set(re.findall(r"--[\w-]+", elsewhere))
    before = None
    while css != before:
        before, used = css, read | set(re.findall(r"var\(\s*(--[\w-]+)", css))
        for found in reversed([*DECLARED.finditer(css)]):
            if found[1] not in used:
                css = css[: found.start()] + css[found.end() :]
    return css
