"""The bookkeeping of proofs/mutants.py and proofs/planted.py, which take minutes themselves."""

import ast
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from proofs import mutants, mutation_runs, planted
from proofs.common import Failed
from proofs.mutants import accepted, compare, counts, merged, score
from proofs.mutation_runs import TESTS, source_of, undecorated

ROOT = Path(__file__).resolve().parents[2]
ENTRY = {"function": "f", "was": "x = 1", "became": "x = 2", "kind": "equivalent",
         "why": "because nobody looks at it"}
SURVIVOR = ("f", "x = 1", "x = 2")


# Mutants ----------------------------------------------------------------------------------------

def test_survivors_and_list_must_be_the_same():
    assert compare([SURVIVOR], [ENTRY]) == []
    assert compare([SURVIVOR], []) == ["survives and is not listed: f: x = 1  ->  x = 2"]
    assert compare([], [ENTRY]) == ["is listed and does not survive: f: x = 1  ->  x = 2"]
    assert len(compare([("g", "x = 1", "x = 2")], [ENTRY])) == 2
    # Two mutants may read alike: one entry is not enough for both.
    assert len(compare([SURVIVOR] * 2, [ENTRY])) == 1 and compare([SURVIVOR] * 2, [ENTRY] * 2) == []


def test_the_score_leaves_out_what_changes_nothing():
    assert score(95, 110, 10) == 0.95
    verdicts = {"a": "killed", "b": "timeout", "c": "segfault", "d": "survived", "e": "no tests"}
    listed = [ENTRY, {**ENTRY, "kind": "kept"}]
    assert counts(verdicts, listed) == {"mutants": 5, "killed": 3, "equivalent": 1, "kept": 1,
                                        "score": 0.75}


@pytest.mark.parametrize("spoiled", [{"kind": "because"}, {"why": ""}, {"kind": None}])
def test_a_survivor_needs_a_kind_and_a_reason(spoiled, tmp_path):
    entry = {k: v for k, v in {**ENTRY, **spoiled}.items() if v is not None}
    path = tmp_path / "survivors.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    path.write_text("\n".join(["[[schedule]]", *lines]))
    with pytest.raises(Failed, match="survivors.toml: kind must be equivalent or kept"):
        accepted("schedule", path)


@pytest.mark.parametrize("listed, fresh, error", [
    ([ENTRY], True, None), ([], True, "1 differences .*\n.*not listed"),
    ([ENTRY, {**ENTRY, "was": "y"}], True, "is listed and does not survive: f: y"),
    ([{**ENTRY, "kind": "kept"}], True, r"only 87\.5% of the mutants that matter are killed"),
    ([ENTRY], False, "committed anew while their mutants ran")])
def test_the_proof_fails_where_list_or_score_are_wrong(listed, fresh, error, monkeypatch, tmp_path):
    verdicts = {f"m.x_f__mutmut_{i}": "killed" if i else "survived" for i in range(8)}
    made = SimpleNamespace(
        prepare=lambda: None, run=lambda: None, current=lambda: fresh, verdicts=lambda: verdicts,
        seconds=lambda: 12.3, change=lambda name: SURVIVOR)
    monkeypatch.setattr(mutants, "Mutants", lambda module, folder: made)
    monkeypatch.setattr(mutants, "accepted", lambda module: listed)
    monkeypatch.setattr(mutants, "source_hash", str.upper)
    if error:
        with pytest.raises(Failed, match=error):
            mutants.prove("schedule", tmp_path)
    else:
        facts = mutants.prove("schedule", tmp_path)
        assert facts["score"] == 1 and facts["source_sha256"] == "SCHEDULE"


@pytest.fixture
def copied(monkeypatch, tmp_path):
    """The copy of a made-up module; what is committed may be changed."""
    files = {f"tests/library/test_{name}.py": "import a\n\n\ndef test_a():\n    pass\n"
             for names in TESTS.values() for name in names}
    files["ddim_lib/schedule.py"] = "@cache\ndef f(): pass\n"

    def export(folder, *paths):
        for path, text in files.items():
            if any(path.startswith(wanted) for wanted in paths):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)

    monkeypatch.setattr(mutation_runs, "committed", files.__getitem__)
    monkeypatch.setattr(mutation_runs, "export", export)
    made = mutation_runs.Mutants("schedule", tmp_path)
    assert not made.current()
    made.prepare()
    assert made.current()
    made.meta.parent.mkdir(parents=True)
    made.meta.write_text(json.dumps({"exit_code_by_key": {"a": 1, "b": 0, "c": 36},
                                     "durations_by_key": {"a": 1.5, "b": 2}}))
    monkeypatch.setattr(made, "verdicts", lambda: {"a": "killed", "b": "survived", "c": "timeout"})
    return made, files


def test_the_copy_is_of_the_module_without_decorators(copied):
    made, _ = copied
    assert (made.folder / "ddim_lib" / "schedule.py").read_text() == (
        "def f(): pass\nf = cache(f)\n")
    told = tomllib.loads((made.folder / "pyproject.toml").read_text())["tool"]["mutmut"]
    assert told["only_mutate"] == ["ddim_lib/schedule.py"]
    assert told["pytest_add_cli_args_test_selection"] == mutation_runs.tests_of("schedule")
    assert made.seconds() == 3.5


@pytest.mark.parametrize("path, text, kept", [
    (None, "", {"a": 1, "b": 0, "c": 36}),
    ("tests/library/test_schedule.py", "def test_b():\n    pass\n", {"a": 1, "b": None, "c": 36}),
    ("tests/library/test_schedule.py", "def test_a():\n    assert 0\n", None),
    ("ddim_lib/schedule.py", "def g(): pass\n", None)])
def test_verdicts_last_until_module_or_tests_change(path, text, kept, copied):
    made, files = copied
    if path:
        keep = files[path] if "test_b" in text else ""
        files[path] = keep + "\n\n" + text
        assert not made.current()
    made.prepare()
    assert made.current()
    assert kept == (json.loads(made.meta.read_text())["exit_code_by_key"]
                    if made.meta.exists() else None)


def test_the_record_keeps_what_was_found_of_the_same_source_alone(monkeypatch):
    monkeypatch.setattr(mutants, "source_hash", str.upper)
    old = {name: {"source_sha256": name.upper(), "n": 1} for name in TESTS}
    new = {"sampling": {"source_sha256": "SAMPLING", "n": 2}}
    assert [facts["n"] for facts in merged(old, new).values()] == [
        2 if name == "sampling" else 1 for name in TESTS]
    old["metrics"]["source_sha256"] = "of another source"
    assert merged(old, new).keys() == TESTS.keys() - {"metrics"}
    assert merged({}, new) == new


def test_functions_with_decorators_are_changed_too():
    source = '@cache\n@wraps(f)\ndef g():\n    """Doc."""\n    return 1\n\n\nclass A:\n' \
             "    @property\n    def b(self):\n        return 2\n"
    assert undecorated(source) == (
        'def g():\n    """Doc."""\n    return 1\ng = wraps(f)(g)\ng = cache(g)\n\n\nclass A:\n'
        "    def b(self):\n        return 2\n    b = property(b)\n")
    for module in TESTS:
        tree = ast.parse(undecorated((ROOT / source_of(module)).read_text()))
        assert not [node for node in ast.walk(tree)
                    if isinstance(node, ast.FunctionDef) and node.decorator_list]


@pytest.mark.parametrize("module", TESTS)
def test_what_is_listed_still_stands_in_the_module(module):
    def words(text):
        return re.sub(r"\s+", "", text)

    source = words(undecorated((ROOT / source_of(module)).read_text()))
    for entry in accepted(module):
        assert words(entry["was"]) in source, entry
    assert all((ROOT / path).is_file() for path in mutation_runs.tests_of(module))


def test_the_record_is_whole():
    told = json.loads((ROOT / "data" / "results" / "proof-mutants.json").read_text())
    modules = told["modules"]
    assert list(modules) == list(TESTS) and told["tool"].startswith("mutmut 3.")
    for key in ("mutants", "killed", "equivalent", "kept"):
        assert told[key] == sum(facts[key] for facts in modules.values()), key
    for name, facts in {"all": told, **modules}.items():
        assert facts["killed"] + facts["equivalent"] + facts["kept"] == facts["mutants"], name
        share = score(facts["killed"], facts["mutants"], facts["equivalent"])
        assert facts["score"] == pytest.approx(share, abs=5e-5) and share >= 0.95, name


# Planted mistakes -------------------------------------------------------------------------------

@pytest.mark.parametrize("name", planted.MISTAKES)
def test_a_planted_mistake_still_fits_into_the_library(name, tmp_path):
    for path in (ROOT / "ddim_lib").glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text())
    planted.plant(planted.MISTAKES[name], tmp_path)
    changed = {path.name for path in tmp_path.glob("*.py")
               if path.read_text() != (ROOT / "ddim_lib" / path.name).read_text()}
    assert changed == {file for file, _, _ in planted.MISTAKES[name].changes}
    for file in changed:
        compile((tmp_path / file).read_text(), file, "exec")
    for chapter in planted.MISTAKES[name].chapters:
        assert (ROOT / "book" / f"{chapter}.ipynb").is_file() and not chapter.startswith("08")


def test_the_four_mistakes_of_the_plan_are_planted():
    assert {"alpha for alpha-bar", "noise at the last step", "an off-by-one subsequence",
            "the sampler replaced by noise"} <= planted.MISTAKES.keys()


@pytest.mark.parametrize("text", ["b = 1\n", "a = 1\na = 1\n"])
def test_a_mistake_that_does_not_fit_once_is_told(text, tmp_path):
    (tmp_path / "x.py").write_text(text)
    with pytest.raises(Failed, match="x.py must hold 'a = 1' once, it does [02] times"):
        planted.plant(planted.Mistake((("x.py", "a = 1", "a = 2"),), ("01_noising",)), tmp_path)


def test_chapters_run_with_the_makefiles_options():
    assert "--nbval" in planted.options()
    assert "--nbval-sanitize-with=tests/book/sanitize.cfg" in planted.options()


def test_the_witness_expects_the_copy(tmp_path):
    (tmp_path / "book").mkdir()
    planted.witness(tmp_path)
    notebook = nbformat.read(tmp_path / "book" / "00_where.ipynb", 4)
    nbformat.validate(notebook)
    (cell,) = notebook.cells
    assert cell.outputs[0].text == f"{tmp_path / 'ddim_lib' / '__init__.py'}\n"


HEAD = "#x1B[91mNotebook cell execution failed#x1B[0m\nCell 3: "


@pytest.mark.parametrize("text, kind, words", [
    (HEAD + "Cell outputs differ\n\nInput:\nprint(a)\n\nTraceback:\nmismatch 'stdout'\n- 1\n+ 2\n",
     "comparison", "- 1 / + 2"),
    (HEAD + "Cell outputs differ\n\nInput:\nshow(a)\n\nTraceback:\na picture that differs by 9\n",
     "comparison", "a picture that differs by 9"),
    (HEAD + "Cell execution caused an exception\n\nTraceback:\nassert a == b\nAssertionError: no\n",
     "assertion", "assert a == b / AssertionError: no"),
    (HEAD + "Cell execution caused an exception\n\nTraceback:\nImportError: no\n", "crash", None),
    (HEAD + "Cell outputs differ\n\nTraceback:\nValueError: no\n", "crash", None),
    (HEAD + "Cell execution caused an exception\n\nTraceback:\nKeyboardInterrupt: \n", "timeout",
     None),
    (HEAD + "Timeout of 600 seconds exceeded while executing cell\n", "timeout", None)])
def test_a_crash_is_no_proof(text, kind, words):
    told = planted.told(text)
    assert told["kind"] == kind
    assert words is None or told["told"] == words


def run_as(answers, monkeypatch):
    monkeypatch.setattr(planted, "chapter", lambda copy, name: answers[name])
    return planted.search(planted.Mistake((), tuple(answers)), Path())


def test_the_first_chapter_that_notices_counts(monkeypatch):
    noticed = {"chapter": "b", "cell": "Cell 1", "kind": "comparison", "told": "no"}
    found = run_as({"a": None, "b": noticed, "c": None}, monkeypatch)
    assert found == {**noticed, "unnoticed_by": ["a"]}
    with pytest.raises(Failed, match="no chapter noticed; these ran: a, b"):
        run_as({"a": None, "b": None}, monkeypatch)
    with pytest.raises(Failed, match="a: a crash proves nothing: why"):
        run_as({"a": {"kind": "crash", "told": "why"}, "b": noticed}, monkeypatch)


@pytest.mark.parametrize("timeouts, calls, kind", [(0, 1, "comparison"), (2, 3, "comparison"),
                                                   (3, 3, "timeout")])
def test_a_chapter_that_takes_too_long_runs_again(timeouts, calls, kind, monkeypatch):
    asked = []

    def chapter(copy, name):
        asked.append(name)
        return {"kind": "timeout" if len(asked) <= timeouts else "comparison"}

    monkeypatch.setattr(planted, "chapter", chapter)
    assert planted.patiently(Path(), "a") == {"kind": kind} and len(asked) == calls


def test_the_record_names_who_noticed_each_mistake():
    told = json.loads((ROOT / "data" / "results" / "proof-planted.json").read_text())
    assert told["mistakes"].keys() == planted.MISTAKES.keys()
    for name, found in told["mistakes"].items():
        assert found["kind"] in ("comparison", "assertion") and found["told"], name
        # The record has the number that a chapter had when it was made.
        titles = [chapter.split("_", 1)[1] for chapter in planted.MISTAKES[name].chapters]
        assert found["chapter"].split("_", 1)[1] in titles, name
        assert found["chapter"] in told["pass_without_a_mistake"], name
