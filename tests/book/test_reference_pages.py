"""The reference pages: nothing public is missing there, and nothing on them leads nowhere.

Most of it reads the sources; what needs the built book is skipped without one.
"""

import ast
import functools
import re
from pathlib import Path

import ddim_api
import pytest
import small_book
from bs4 import BeautifulSoup
from ddim_api import commands as command_pages
from ddim_equations import sources as equation_sources
from ddim_glossary import terms as glossary_terms
from ddim_shared import repository
from test_pages import missing, parsed

import ddim_lib
from ddim_lib.cli import main

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html" / "book"
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
# Every module of the library by its name below ddim_lib; that of the package itself is "".
MODULES = {".".join(path.relative_to(ROOT / "ddim_lib").with_suffix("").parts)
           .removesuffix("__init__").removesuffix("."): path
           for path in (ROOT / "ddim_lib").rglob("*.py")}
# Modules that no page of the library shows, each for its reason.
EXEMPT = {
    "": "its names are those of other modules; the first page lists them",
    "__main__": "starts the command, defines nothing",
    **dict.fromkeys(("runtime", "storage"), "a folder of modules"),
}
# The command's own package has a page that is made from click; a program may call these of it.
CALLED = {"cli.together", "cli.video"}
COMMAND = sorted(name for name in MODULES if name.split(".")[0] == "cli" and name not in CALLED)
PUBLIC = sorted(MODULES.keys() - EXEMPT.keys() - set(COMMAND))


def public_names(module):
    """Functions, classes, methods and properties that a reader may call: name to node."""
    nodes = repository.definitions(MODULES[module])
    return {name: node for name, node in nodes.items()
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and all(not part.startswith("_") or part == "__call__" for part in name.split("."))}


ALL = [(module, name) for module in PUBLIC for name in public_names(module)]


def parameters(node):
    """Of a function; of a class those of its __init__, or its fields."""
    if isinstance(node, ast.ClassDef):
        fields = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign)]
        made = [p for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"
                for p in parameters(n)]
        return fields + made
    a = node.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return [p.arg for p in every if p.arg not in ("self", "cls")]


# The library --------------------------------------------------------------------------------------

def test_every_module_has_its_place():
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "book/api").glob("*.md"))
    shown = re.findall(r"^\.\. automodule:: ddim_lib\.([\w.]+)\n   :members:", pages, re.MULTILINE)
    assert sorted(shown) == PUBLIC
    assert pages.count("automodule") == len(shown)
    called = [m for m in PUBLIC if any("__call__" in name for name in public_names(m))]
    assert called == [m for m in PUBLIC if f"ddim_lib.{m}\n   :members:\n   :special-members:"
                      " __call__\n" in pages]


def test_every_page_of_the_library_is_in_the_table_of_contents():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for path in (ROOT / "book/api").glob("*.md"):
        assert f"- file: book/api/{path.stem}\n" in contents
        words = path.read_text(encoding="utf-8").split("\n## ")[0].split("\n", 1)[1]
        assert len(words.split()) >= 15, f"{path.name} needs a sentence of introduction"


@pytest.mark.parametrize("module, name", ALL, ids=lambda part: part)
def test_every_public_name_is_documented(module, name):
    """A docstring, in which every parameter is named, or a reference to where it is."""
    node = public_names(module)[name]
    text = ast.get_docstring(node) or ""
    assert len(text.split()) >= 3, "no docstring"
    known = set(re.findall(r"\w+", text))
    for reference in re.findall(r"as\s+(?:in\s+)?:(?:func|meth):`~?([\w.]+)`", text):
        other, function = reference.rpartition(".")[::2]
        there = public_names(other.removeprefix("ddim_lib.") or module)
        assert function in there, reference
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    if section:  # one entry for each, not a word in passing
        entries = re.findall(r"^    (\S[^:\n]*):", section[1], re.MULTILINE)
        known = {entry.strip() for line in entries for entry in line.split(",")}
    assert [p for p in parameters(node) if p not in known] == []


def test_the_commands_modules_are_documented_too():
    """But for what click calls: invoke, main and the convert of its types."""
    for module in COMMAND:
        for name, node in public_names(module).items():
            if name.split(".")[-1] not in ("invoke", "main", "convert"):
                assert ast.get_docstring(node), f"{module}.{name}"


def test_the_first_page_links_what_stands_at_the_top():
    page = (ROOT / "book/api.md").read_text(encoding="utf-8")
    linked = dict(re.findall(r"`(\w+) <(ddim_lib[\w.]+)>`", page))
    assert sorted(linked) == sorted(ddim_lib.__all__)
    for name, target in linked.items():
        thing = getattr(ddim_lib, name)
        assert f"{thing.__module__}.{thing.__qualname__}" == target


def test_only_types_of_others_may_have_no_link():
    assert all(role == "py:class" and "ddim_lib" not in name for role, name in ddim_api.OUTSIDE)
    ours = {name.split(".")[-1] for _, name in ALL} | {"Model"}
    # ddim_lib.device is a function, and no type.
    assert ours & {name.split(".")[-1] for _, name in ddim_api.OUTSIDE} <= {"device"}
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert "nitpick" not in config and "suppress_warnings" not in config


@pytest.mark.parametrize("module, name", ALL, ids=lambda part: part)
def test_source_leads_to_the_definition(module, name):
    link = ddim_api.source("py", {"module": f"ddim_lib.{module}", "fullname": name})
    path = MODULES[module].relative_to(ROOT)
    start = f"https://github.com/{repository.configured()}/blob/main/{path}#L"
    assert link.startswith(start)
    first, last = map(int, link.removeprefix(start).split("-L"))
    lines = MODULES[module].read_text(encoding="utf-8").splitlines()
    assert re.match(rf"\s*(def|class) {name.split('.')[-1]}\b", lines[first - 1])
    assert first < last <= len(lines)


def test_the_source_of_what_is_not_defined_by_name_is_its_file():
    info = {"module": "ddim_lib.sampling", "fullname": "Step.t"}
    assert ddim_api.source("py", info | {"fullname": "nothing"}).endswith("ddim_lib/sampling.py")
    assert re.search(r"sampling\.py#L\d+-L\d+$", ddim_api.source("py", info))
    assert ddim_api.source("std", {}) is None and ddim_api.source("py", {"module": ""}) is None


# The command --------------------------------------------------------------------------------------

COMMANDS = {context.command_path: context for context in command_pages.contexts(main)}


def test_every_command_is_there():
    assert {"ddim", "ddim train", "ddim sample", "ddim weights", "ddim weights convert"} <= set(
        COMMANDS)
    assert re.findall(r"^## (.+)$", command_pages.markdown(), re.MULTILINE) == list(COMMANDS)
    assert command_pages.markdown() == command_pages.markdown()


@pytest.mark.parametrize("path", COMMANDS)
def test_a_commands_section_says_what_its_help_says(path):
    section = command_pages.section(COMMANDS[path]).replace("\\", "")
    said = COMMANDS[path].get_help()
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", said.split("Options:")[1]))
    headed = " ".join(re.findall(r"^```\{option\} (.+)$", section, re.MULTILINE))
    defined = {o for p in COMMANDS[path].command.params for o in (*p.opts, *p.secondary_opts)
               if o.startswith("--")}
    assert defined <= options and defined == set(re.findall(r"--[a-z][a-z0-9-]*", headed))

    def words(text):
        return re.findall(r"\w+", text.replace("\b", ""))

    help_words = set(words(said.split("Commands:")[0]))
    assert help_words - set(words(section)) <= {"Usage", "Options", "Examples", "help", "h", "Show",
                                                "this", "message", "and", "exit"}
    examples = re.findall(r"^ +(ddim .+)$", said, re.MULTILINE)
    assert examples == re.findall(r"^(ddim .+)$", section.split("```sh")[-1], re.MULTILINE) or \
        "```sh" not in section and not examples


def test_a_block_that_is_not_of_examples_is_an_error():
    import click

    odd = click.Command("odd", help="Words.\n\n\b\nNotes:\n  one")
    with pytest.raises(ValueError, match="a block of odd must be its examples, got 'Notes:'"):
        command_pages.paragraphs(odd)


# A small book through Sphinx ----------------------------------------------------------------------

SMALL = {
    "index": "# All\n\n```{toctree}\n01_noising\n05_fast_sampling\nglossary\n```\n\nA seed, by "
             "equation (1).\n",
    "01_noising": "# DDPM\n\n> A sampler in the box.\n\nFirst DDPM, then `DDPM` and DDPM. By "
                  "equation (7) and\n(11.2), $$x \\tag{1}$$\n\n$$\nx_t = y \\tag{1}\n$$\n\n"
                  "## A seed\n\n- in a list, a noise\n  schedule, "
                  "[a seed](https://example.org)\n\n| level |\n|---|\n| level |\n\n"
                  "$$\nz \\tag{7}\n$$\n",
    "05_fast_sampling": "# Fast\n\n$$\nz \\tag{7}\n$$\n\nAs equation (7) says, and loss (5).\n",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Three pages, built with our two extensions: name to parsed page, and the warnings."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "source/book").mkdir(parents=True)
    for name, text in SMALL.items():
        (folder / f"source/book/{name}.md").write_text(text, encoding="utf-8")
    glossary = glossary_terms.PAGE.read_text(encoding="utf-8").replace("(notation.md)", "(#)")
    (folder / "source/book/glossary.md").write_text(glossary, encoding="utf-8")
    told = small_book.build(folder, ["ddim_equations", "ddim_glossary"], root_doc="book/index")
    pages = {name: BeautifulSoup((folder / f"out/book/{name}.html").read_text(), "html.parser")
             for name in [*SMALL, "glossary"]}
    return pages, told


def test_numbered_equations_become_places_and_mentions_lead_there(small):
    pages, _ = small
    assert pages["05_fast_sampling"].find(id="eq-7")["class"][0] == "math"
    assert pages["01_noising"].find(id="eq-1") and not pages["01_noising"].find(id="eq-7")
    first = {a.text: a["href"] for a in pages["01_noising"].select("a[href*='#eq-']")}
    assert first == {"(7)": "05_fast_sampling.html#eq-7",
                     "(11.2)": "11_solvers.html#eq-11-2"}
    own = {a.text: a["href"] for a in pages["05_fast_sampling"].select("a[href*='#eq-']")}
    assert own == {"equation (7)": "#eq-7", "(5)": "03_learning.html#eq-5"}


def test_a_term_is_linked_where_a_chapter_uses_it_first_and_nowhere_else(small):
    pages, _ = small
    links = pages["01_noising"].select("a.ddim-term")
    assert [" ".join(a.text.split()) for a in links] == ["DDPM", "noise schedule"]
    assert links[0].find_parent("p") and links[1].find_parent("li")
    assert links[0].find_previous(string=re.compile("First"))
    for a in links:
        page, anchor = a["href"].split("#")
        assert page == "glossary.html" and pages["glossary"].find(id=anchor).name == "dt"
        assert len(a["title"].split()) > 8
    for page in ("index", "glossary"):
        assert pages[page].select("a.ddim-term") == []


def test_the_glossarys_page_shows_names_without_forms(small):
    pages, _ = small
    shown = [dt.text.strip().rstrip("¶#") for dt in pages["glossary"].select("dt")]
    terms = glossary_terms.terms()
    assert shown == [term.name for term in terms]
    assert [dt["id"] for dt in pages["glossary"].select("dt")] == [term.anchor for term in terms]


# The built book -----------------------------------------------------------------------------------

def built(name):
    path = SITE / f"{name}.html"
    if not path.is_file():
        missing("there is no built book: run `make book` first")
    return parsed(f"book/{name}.html")


@functools.cache
def places(path):
    return set(re.findall(r'\bid="([^"]+)"', path.read_text(encoding="utf-8")))


PAGES = ["api", "equations", "glossary", "notation",
         *(f"api/{path.stem}" for path in (ROOT / "book/api").glob("*.md")),
         *(path.stem for path in CHAPTERS)]


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_lead_to_places_that_exist(name):
    page, here = built(name), SITE / f"{name}.html"
    for a in page.select("article a[href]"):
        target, _, anchor = a["href"].partition("#")
        if re.match(r"https?:|mailto:", target) or not (target or anchor):
            continue
        path = (here.parent / target).resolve() if target else here.resolve()
        assert path.is_file(), a["href"]
        if anchor and path.suffix == ".html":
            assert anchor in places(path), a["href"]


@pytest.mark.parametrize("path", sorted((ROOT / "book/api").glob("*.md")), ids=lambda p: p.stem)
def test_every_public_name_is_on_its_page(path):
    modules = re.findall(r"automodule:: ddim_lib\.([\w.]+)", path.read_text(encoding="utf-8"))
    page = built(f"api/{path.stem}")
    for module in modules:
        source = MODULES[module].relative_to(ROOT)
        for name in public_names(module):
            place = page.find(id=f"ddim_lib.{module}.{name}")
            assert place is not None, f"{module}.{name}"
            assert place.select_one(f"a[href*='/{source}#L']"), f"{module}.{name}"
            assert len(place.find_next_sibling("dd").text.split()) >= 3


def test_a_long_signature_is_lines_not_a_list_of_descriptions_without_terms():
    lines = built("api/samplers").find(id="ddim_lib.sampling.step").select(".sig-lines > .sig-line")
    assert [line.text.split(":")[0] for line in lines] == [
        "x0", "eps", "alpha_t", "alpha_s", "eta", "z"]
    for path in (ROOT / "book/api").glob("*.md"):
        assert built(f"api/{path.stem}").select("dt dl, dt dd") == []


def test_no_docstring_shows_its_markup():
    """What reStructuredText did not understand stays as it was typed."""
    for path in (ROOT / "book/api").glob("*.md"):
        text = "\n".join(dd.get_text() for dd in built(f"api/{path.stem}").select("dl.py dd p"))
        assert not re.search(r"``|:(func|class|meth|mod|attr):|Args:|Returns:|Raises:", text)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapters_terms_and_equations(path):
    page = built(path.stem)
    links = page.select("article a.ddim-term")
    targets = [a["href"] for a in links]
    assert len(targets) >= 5 and len(set(targets)) == len(targets)
    assert all(a["href"].startswith("glossary.html#term-") and a["title"] for a in links)
    for left_alone in ("h1", "h2", "h3", "pre", "code", "figcaption", "summary", "table", "a"):
        assert page.select(f"{left_alone} .ddim-term") == []
    ours = [e for e in equation_sources.equations() if e.chapter == f"book/{path.stem}"]
    for equation in ours:
        block = page.find(id=equation.anchor)
        assert f"\\tag{{{equation.number}}}" in block.text and "math" in block["class"]
    assert len(page.select("[id^='eq-']")) == len(ours)


def test_the_page_of_equations_leads_to_each():
    listed = built("equations").select("a[href*='#eq-']")
    assert len(listed) >= len(equation_sources.equations())
