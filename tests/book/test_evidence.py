"""The page "How we know": each claim has evidence that is there, each number is its file's."""

import json
import re
import shutil
from pathlib import Path

import ddim_evidence as evidence
import pytest
import small_book
from ddim_evidence import proofs, sources
from ddim_evidence import text as saying
from ddim_records.fields import Missing, fact, load, shown

from course.edition import build as course_edition
from proofs.__main__ import PROOFS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "how_we_know.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```\{ddim-(claims|unknown|proofs)\} ?([\w ]*)\n(.*?)^```$",
                   re.DOTALL | re.MULTILINE)
ROLE = re.compile(r"\{ddim-fact\}`([^`]*)`")


def blocks(kind: str) -> list[tuple[str, list[str]]]:
    """The statements of the page in one kind of directive."""
    return [statement for name, _, body in BLOCK.findall(TEXT) if name == kind
            for statement in saying.statements(body.splitlines())]


CLAIMS, UNKNOWN = blocks("claims"), blocks("unknown")
FACTS = sorted(set(ROLE.findall(TEXT)))


def test_every_claim_is_one_sentence_with_evidence():
    assert len(CLAIMS) >= 50 and len({text for text, _ in CLAIMS}) == len(CLAIMS)
    for text, lines in CLAIMS:
        said = saying.WORDS.sub("x", text)
        assert said.endswith(".") and len(re.findall(r"[.?!](?= [A-Z]|$)", said)) == 1, text
        found = [source for line in lines for source in saying.cited(line)]
        found += [fact(role) for role in ROLE.findall(text)]
        assert found, text


def test_what_is_unknown_is_said():
    assert len(UNKNOWN) >= 15
    assert all(text.endswith(".") for text, _ in UNKNOWN)


def test_every_test_that_is_named_is_collected():
    named = re.findall(r"^- (test_\w+\.py): (.+)$", TEXT, re.MULTILINE)
    pairs = [(file, name.strip()) for file, names in named for name in names.split(",")]
    assert len(pairs) >= 90
    for file, name in pairs:
        source = sources.test(file, name)
        text = (ROOT / source.path).read_text(encoding="utf-8")
        assert len(re.findall(rf"^def {name}\(", text, re.MULTILINE)) == 1, (file, name)
        lines = text.splitlines()
        assert lines[source.first - 1].startswith(f"def {name}(")
        assert source.last == len(lines) or not lines[source.last].startswith("    ")


def test_no_number_beside_the_claims_was_typed():
    """In them one stops the build."""
    plain = saying.WORDS.sub("", BLOCK.sub("", TEXT))
    assert saying.TYPED.findall(plain) == []


@pytest.mark.parametrize("text, typed", [
    ("It has 3 parts.", ["3"]), ("at 1.63 or 2,000.", ["1.63", "2,000"]), ("10 %", ["10"]),
    ("CIFAR-10 in float32, 64x64, kill -9, chapter 10", []), ("S10", [])])
def test_typed_numbers_are_found(text, typed):
    assert saying.TYPED.findall(text) == typed


# Numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FACTS)
def test_every_number_can_be_told(text):
    value, name = fact(text)
    assert shown(value) and (ROOT / "data" / "results" / name).is_file()


# What is missing --------------------------------------------------------------------------------

TEST = "import pytest\n\n\ndef test_x():\n    assert 1 < 2\n"


@pytest.fixture
def root(tmp_path) -> Path:
    """A small project with a test, a record and a proof of each kind."""
    for folder in ("tests", "proofs", "data/results"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tests/test_a.py").write_text(TEST)
    for name in ("kill", "later", "new"):
        (tmp_path / f"proofs/{name}.py").write_text("")
    for name in ("kill", "new"):
        told = {key: f"its {key}" for key in proofs.GENERIC} | {"proof": name}
        told |= {"what": "Of proofs/later.py, no/such.py.", "date": "2026-11-23", "kills": 20,
                 "share": 1e-5, "rows": [1], "command": "x"}
        (tmp_path / f"data/results/proof-{name}.json").write_text(json.dumps(told))
    (tmp_path / "data/results/a.json").write_text(json.dumps(
        {"n": 5000, "seeds": "0..4999", "hardware": "A chip", "date": "2026-11-23",
         "commit": "abc1234"}))
    return tmp_path


@pytest.mark.parametrize("line, said", [
    ("test_a.py: test_y", "tests/test_a.py has no test test_y"),
    ("test_a.py: test_x, test_z", "no test test_z"),
    ("test_b.py: test_x", "there must be one test_b.py in tests, there are 0"),
    ("test_b.py", "there must be one test_b.py in tests, there are 0"),
    ("b.json", "no file data/results/b.json"),
    ("proofs/no.py", "no file proofs/no.py"),
    ("test_a.py: helper", "helper is no test"),
    ("proofs/kill.py: test_x", "test_x is no test"),
])
def test_evidence_that_is_not_there_is_an_error(root, line, said):
    assert saying.cited("test_a.py: test_x", root)[0].path == "tests/test_a.py"
    assert saying.cited("a.json", root)[0].path == "data/results/a.json"
    with pytest.raises(Missing, match=re.escape(said)):
        saying.cited(line, root)


@pytest.mark.parametrize("content", [
    TEST.replace("def", '@pytest.mark.skip(reason="x")\ndef'),
    TEST.replace("def", "@pytest.fixture\ndef"), TEST.replace("def", "@pytest.mark.xfail\ndef"),
    "def outer():\n    def test_x():\n        pass\n",
    'text = """\ndef test_x():\n    pass\n"""\n'])
def test_a_test_that_never_runs_is_no_evidence(root, content):
    (root / "tests/test_a.py").write_text(content)
    with pytest.raises(Missing):
        sources.test("test_a.py", "test_x", root)


def test_a_test_that_only_some_machines_skip_is_evidence(root):
    (root / "tests/test_a.py").write_text(TEST.replace("def", "@pytest.mark.skipif(0)\ndef"))
    assert sources.test("test_a.py", "test_x", root).first == 5


def test_a_claim_is_read_with_its_evidence():
    lines = ["One", "claim.", "- test_a.py: test_x,", "  test_y", "- a.json", "", "", "Two - here."]
    found = saying.statements(lines)
    assert found == [("One claim.", ["test_a.py: test_x, test_y", "a.json"]),
                     ("Two - here.", [])]


def test_the_links_lead_to_the_lines_and_tell_where_a_record_is_from(root):
    found = [source for line in ("test_a.py: test_x", "a.json", "a.json")
             for source in saying.cited(line, root)]
    line = evidence.links(found, root)
    assert line.astext() == ("Test: test_x. Record: a.json (n = 5,000, seeds 0..4999, A chip,"
                             " 2026-11-23, commit abc1234).")
    test, record = [link["refuri"] for link in line.findall(evidence.nodes.reference)]
    assert test.endswith("/blob/main/tests/test_a.py#L4-L5")
    assert record.endswith("/blob/main/data/results/a.json")


@pytest.mark.parametrize("name, said", [
    ("test_a_seed_is_a_picture", "a seed is a picture"),
    ("test_the_library_s_own", "the library’s own"), ("test_noise_is_numpy_s", "noise is numpy’s"),
    ("test_of_S_steps", "of S steps"), ("test_fails", "test_fails")])
def test_the_name_of_a_test_is_a_sentence(name, said):
    assert evidence.link(sources.Source("tests/test_a.py", name, 1, 2)).astext() == said


# Proofs -----------------------------------------------------------------------------------------


def test_proofs_are_those_that_are_asked_for_or_recorded(root):
    assert proofs.asked([], root) == ["kill", "new"]
    assert proofs.asked(["later", "kill"], root) == ["later", "kill"]


def test_a_proof_is_told_with_its_numbers(root):
    item = evidence.proof_item("kill", root)
    said = item.astext().split("\n\n")
    uris = [link["refuri"].partition("/blob/main/")[2]
            for link in item.findall(evidence.nodes.reference)]
    assert uris == ["proofs/later.py", "data/results/proof-kill.json", "proofs/kill.py"]
    assert said[:2] == ["Of proofs/later.py, no/such.py.", "kills: 20; share: 1e-05."]
    assert said[2].startswith("Record: proof-kill.json (its hardware, torch its torch, 2026")
    assert said[2].endswith("File: proofs/kill.py.")


def test_what_a_record_has_several_of_is_told_line_by_line():
    facts = {"what": "x", "rows": [{"a": 1}], "seen": True, "at": "https://x",
             "of": {"python": "3.12", "all": {}},
             "notebooks": {"01_noising": {"seconds": 1.5, "differ": []}, "two": {"differ": []}},
             "unproven": ["A GPU: none was used."], "none": {}}
    assert proofs.groups(facts, str) == [
        ("of", ["python: 3.12"]), ("notebooks", ["01 noising: seconds 1.5", "two"]),
        ("What this leaves open", ["A GPU: none was used."])]
    assert proofs.scalars(facts | {"seed": 0, "told": "y" * 61, "word": "z"}, str) == (
        "seed: 0; word: z")


def test_a_proof_may_have_several_records(root):
    shutil.copy(root / "data/results/proof-kill.json", root / "data/results/proof-kill-gpu.json")
    assert proofs.asked(["kill"], root) == ["kill", "kill-gpu"]
    assert proofs.asked(["kil"], root) == ["kil"] and len(proofs.asked([], root)) == 3
    assert proofs.program("kill-gpu", root).path == "proofs/kill.py"
    with pytest.raises(Missing, match="no file proofs/kil.py"):
        proofs.program("kil-gpu", root)
    with pytest.raises(Missing, match="own name"):
        proofs.proof("kill-gpu", root)


def test_a_proof_that_was_not_run_says_so(root):
    said = evidence.proof_item("later", root).astext()
    assert said.startswith("The proof “later” has not been run yet.") and "Of proofs" not in said


@pytest.mark.parametrize("key", proofs.GENERIC)
def test_a_record_that_does_not_say_what_it_should_is_an_error(root, key):
    path = root / "data/results/proof-kill.json"
    told = json.loads(path.read_text())
    del told[key]
    path.write_text(json.dumps(told))
    with pytest.raises((Missing, KeyError)):
        evidence.proof_item("kill", root)


def test_every_proof_is_on_the_page():
    named = [names.split() for kind, names, _ in BLOCK.findall(TEXT) if kind == "proofs"]
    # The last one tells whatever has a record and no name on the page.
    assert named[-1] == [] and sum(not names for names in named) == 1
    assert {name for names in named for name in names} == set(PROOFS)
    assert proofs.proof("kill")["random_kills"] >= 20


# The build --------------------------------------------------------------------------------------

SMALL = """# Title

{}

```{{ddim-claims}}
{}
```
"""


def build(folder: Path, claim: str, before: str = "") -> tuple[str, str]:
    """Build a page of one claim with this extension; what was warned of, and the HTML."""
    return small_book.page(folder, SMALL.format(before, claim), ["ddim_evidence"])


def test_a_claim_on_a_page(tmp_path):
    told, page = build(tmp_path, "At {ddim-fact}`mnist-quality.json distance` it holds.\n"
                                 "- test_sampling.py: test_equal_to_diffusers")
    quality = load("mnist-quality.json")
    assert told == ""
    assert f">{quality['distance']}<" in page and ">equal to diffusers</" in page
    # The record of a number is evidence without being named again.
    assert "mnist-quality.json</span>" in page and f"n = {quality['n']:,}" in page


@pytest.mark.parametrize("claim, said", [
    ("It holds.\n- test_sampling.py: test_equal_to_nobody", "has no test test_equal_to_nobody"),
    ("It holds, at {ddim-fact}`mnist-quality.json grade`.\n- tests/book/guard.py",
     "no field grade"),
    ("It holds.\n- mnist-glory.json", "no file data/results/mnist-glory.json"),
    ("It holds.", "a claim without evidence: 'It holds.'"),
    ("It holds, by 1.63.\n- tests/book/guard.py", "1.63 was typed by hand"),
])
def test_what_is_missing_stops_the_build(tmp_path, claim, said):
    """A warning, and warnings are errors to `make book`."""
    told, _ = build(tmp_path, claim)
    assert "WARNING" in told and said in told


def test_the_course_edition_leaves_the_page_out(tmp_path):
    """Its evidence lies at the public address, to which that edition has no link."""
    course_edition.copy(ROOT, tmp_path / "book", None, paper=False)
    assert "how_we_know" in (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    for path in [tmp_path / "book/_toc.yml", *(tmp_path / "book/book").rglob("*.md")]:
        assert "how_we_know" not in path.read_text(encoding="utf-8") + path.name, path


def test_what_is_known_by_now_is_not_called_unknown(tmp_path):
    before = ("```{ddim-unknown}\nThe moon.\n- until: data/results/mnist-qual*.json\n\n"
              "The sun.\n- until: data/results/sun*.json\n\nThe stars.\n```")
    told, page = build(tmp_path, "It holds.\n- tests/book/guard.py", before)
    assert told == "" and "The moon" not in page
    assert "The sun" in page and "The stars" in page
