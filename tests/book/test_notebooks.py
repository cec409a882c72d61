"""What is committed in a notebook, without running it. That it still comes out so: nbval's part."""

import ast
import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from course.release import INSTALL
from scripts import address
from scripts.notebooks import execution
from scripts.notebooks.normal_form import VIEW, read, references, widget_states

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = execution.chapters()
LONGEST_CELL = 20
LARGEST_FILE = 4_000_000
# Marks that switch a check off, by notebook and mark, each with the reason.
ALLOWED_MARKS = {
    ("03_learning", "own-training"): "the reader's own training: another machine, other pictures"}
TAGS = re.compile(r"nbval-.*|own-training|raises-exception|skip-execution")
COMMENTS = re.compile(r"#\s*(NBVAL_\w+|PYTEST_VALIDATE_IGNORE_OUTPUT)")
MACHINE_PATH = re.compile(r"(?<![\w.~])/(home|root|work|tmp|usr|Users|mnt|opt)/\w|\b[A-Z]:\\\w")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
IMG = re.compile(r"<img\b[^>]*>")
PROGRESS = re.compile(r"\d+%\|")

every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list:
    return [c for c in read(path).cells if c.cell_type == "code" and c.source.strip()]


def texts(cell) -> list[str]:
    """All that a cell's outputs say."""
    found = []
    for output in cell.outputs:
        found.append(output.get("text", ""))
        found += [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return found


def plain_code(source: str) -> str:
    """The cell without the lines that only IPython reads."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def shows(source: str) -> bool:
    """Whether running the cell puts something on the page, as far as its text can tell."""
    body = ast.parse(plain_code(source)).body
    if body and isinstance(body[-1], ast.Expr) and isinstance(body[-1].value, ast.Name):
        return True
    calls = [
        s.value.func for s in body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)
    ]
    names = {getattr(call, "id", getattr(call, "attr", "")) for call in calls}
    return bool(names & {"print", "display", "show"})


def test_the_contents_name_every_chapter_and_every_page_exists():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = [contents["root"]] + [c["file"] for p in contents["parts"] for c in p["chapters"]]
    missing = [
        p for p in pages if not any((ROOT / f"{p}{end}").exists() for end in (".md", ".ipynb"))
    ]
    assert missing == []
    assert {f"book/{path.stem}" for path in CHAPTERS} <= set(pages)
    assert CHAPTERS


@every_chapter
def test_ran_once_from_top_to_bottom(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@every_chapter
def test_no_error_and_nothing_on_stderr(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error", f"cell [{cell.execution_count}]"
            assert output.get("name") != "stderr", f"cell [{cell.execution_count}]"


@every_chapter
def test_what_shows_something_has_outputs(path):
    for cell in code_cells(path):
        assert cell.outputs or not shows(cell.source), f"cell [{cell.execution_count}]"


@every_chapter
def test_no_check_is_switched_off(path):
    for cell in code_cells(path):
        marks = [tag for tag in cell.metadata.get("tags", []) if TAGS.fullmatch(tag)]
        marks += COMMENTS.findall(cell.source)
        marks = [mark for mark in marks if (path.stem, mark) not in ALLOWED_MARKS]
        assert marks == [], f"cell [{cell.execution_count}]"


@every_chapter
def test_outputs_are_the_same_on_every_machine(path):
    """No object's address, no progress bar, no path of a machine."""
    for cell in code_cells(path):
        for said in texts(cell):
            for pattern in (ADDRESS, PROGRESS, MACHINE_PATH):
                assert not pattern.search(said), f"cell [{cell.execution_count}]: {said:.200}"
        assert not MACHINE_PATH.search(cell.source), f"cell [{cell.execution_count}]"


@every_chapter
def test_widgets_have_their_state(path):
    notebook = read(path)
    states = widget_states(notebook)
    for cell in code_cells(path):
        for output in cell.outputs:
            if VIEW in output.get("data", {}):
                assert output.data[VIEW]["model_id"] in states, f"cell [{cell.execution_count}]"
    for widget in states.values():
        assert set(references(widget)) <= set(states)
        for output in widget.state.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"


@every_chapter
def test_pictures_have_alt_text(path):
    for cell in code_cells(path):
        shown = [o.get("data", {}) for o in cell.outputs]
        # A player's still stands for HTML whose pictures carry their own.
        inside = [img for data in shown for img in IMG.findall(data.get("text/html", ""))]
        alts = [re.search(r'alt="([^"]*)"', img) for img in inside]
        said = all(alt and len(alt[1].split()) >= 3 for alt in alts)
        assert said, f"cell [{cell.execution_count}]"
        pictures = [data for data in shown if "text/html" not in data]
        if any(key.startswith("image/") for data in pictures for key in data):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 3, f"cell [{cell.execution_count}] says {alt!r}"


@every_chapter
def test_cells_are_short(path):
    for cell in code_cells(path):
        lines = cell.source.rstrip().split("\n")
        assert len(lines) <= LONGEST_CELL, f"cell [{cell.execution_count}]: {len(lines)} lines"
        # nbval runs such a cell as if the semicolon were not there, and finds an output too many.
        assert not lines[-1].rstrip().endswith(";"), f"cell [{cell.execution_count}]"


@every_chapter
def test_opens_and_installs_itself_in_colab(path):
    notebook = read(path)
    repository = address.configured(ROOT)
    first_text = next(c for c in notebook.cells if c.cell_type == "markdown").source
    link = f"https://colab.research.google.com/github/{repository}/blob/main/book/{path.name}"
    assert f"]({link})" in first_text
    assert code_cells(path)[0].source.strip() == INSTALL.format(address.requirement(ROOT)).strip()


@every_chapter
def test_is_in_normal_form(path):
    assert execution.in_normal_form(path), "run `make notebooks`"


@every_chapter
def test_figures_have_twice_the_pixels_of_their_size(path):
    """Sharp on a phone; "retina" says the size beside the picture."""
    for output in (o for cell in code_cells(path) for o in cell.outputs):
        data = output.get("data", {})
        if "image/png" in data and "text/html" not in data:  # not what a player leaves on paper
            pixels = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size
            told = output.metadata["image/png"]
            for size, wanted in zip(pixels, (told.width, told.height), strict=True):
                assert abs(size - 2 * wanted) <= 1


@every_chapter
def test_is_small(path):
    assert path.stat().st_size < LARGEST_FILE


def test_what_shows_something_is_recognised():
    assert shows("x = 1\nprint(x)") and shows("plt.plot(y)\nplt.show()") and shows("x = 1\nx")
    assert not shows("def f():\n    print(1)") and not shows("%pip install x\nx = 1")


CHOICE = re.compile(
    r'<details class="choice">\n<summary>([A-D])\. (.+?)</summary>\n\n(.+?)\n\n</details>',
    re.DOTALL,
)


def quiz(path: Path) -> list[list[tuple[str, str, str]]]:
    """The choices of each question: (letter, choice, explanation)."""
    (text,) = [c.source for c in read(path).cells if "## Check yourself" in c.source]
    text = text.split("## Check yourself")[1].split("## Exercises")[0]
    starts = [match.start() for match in re.finditer(r"^\*\*\d+\. ", text, re.MULTILINE)]
    parts = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [CHOICE.findall(part) for part in parts]


@every_chapter
def test_a_quiz_explains_every_choice(path):
    questions = quiz(path)
    assert len(questions) >= 3
    for number, choices in enumerate(questions, 1):
        assert "".join(letter for letter, _, _ in choices) in ("ABC", "ABCD"), number
        verdicts = [why.split()[0] for _, _, why in choices]
        assert sorted(set(verdicts)) == ["**No.**", "**Yes.**"], number
        assert verdicts.count("**Yes.**") == 1, number
        for letter, choice, why in choices:
            # Not every reader of notebooks sets formulas inside a summary.
            assert "$" not in choice, (number, letter)
            assert len(why.split()) >= 8, (number, letter)


def test_the_right_choice_is_not_given_away():
    """Neither its letter nor its length tells it."""
    letters, longest = [], []
    for path in CHAPTERS:
        for choices in quiz(path):
            (right,) = [c for c in choices if c[2].startswith("**Yes.**")]
            letters.append(right[0])
            longest.append(len(right[1]) == max(len(choice) for _, choice, _ in choices))
    # Of the right choices each letter has a third, but for a tenth of all.
    for letter in "ABC":
        assert abs(letters.count(letter) - len(letters) / 3) <= len(letters) / 10
    assert sum(longest) <= len(longest) / 2


@every_chapter
def test_exercises_have_folded_solutions(path):
    (text,) = [c.source for c in read(path).cells if "## Exercises" in c.source]
    text = text.split("## Exercises")[1]
    number = int(path.stem[:2])
    exercises = re.findall(rf"^\*\*{number}\.(\d+)\*\*", text, re.MULTILINE)
    assert exercises == [str(i) for i in range(1, len(exercises) + 1)] and len(exercises) >= 3
    assert text.count("<details>\n<summary>Solution</summary>\n\n") == len(exercises)
    assert text.count("\n\n</details>") == text.count("<details>") == len(exercises)


@every_chapter
def test_solutions_use_names_that_the_chapter_has(path, tmp_path):
    """Nobody runs the code of solutions here; a cell that went would leave names behind."""
    source = "\n".join(plain_code(cell.source) for cell in code_cells(path))
    (text,) = [c.source for c in read(path).cells if "## Exercises" in c.source]
    blocks = re.findall(r"^```python\n(.*?)^```", text.split("## Exercises")[1],
                        re.MULTILINE | re.DOTALL)
    script = tmp_path / "chapter.py"
    script.write_text("import ddim_lib\n" + "\n".join([source, *blocks]), encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821,E9", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@every_chapter
def test_nothing_moves_in_a_running_notebook_alone(path):
    """`interact` asks the kernel for every picture: dead on the page."""
    for cell in code_cells(path):
        assert not re.search(r"\binteract(ive|_manual)?\(", cell.source)
