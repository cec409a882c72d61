"""The public address stands in one place, and one command moves it."""

import re
import shutil
import subprocess
from pathlib import Path

import address
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
# Links that can only be the project's own.
OWN_LINKS = [
    re.compile(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+?)(?=[/)\"'\s]|$)"),
    re.compile(r"git\+https://github\.com/([\w.-]+/[\w.-]+?)(?=[/)\"'\s@]|$)"),
    re.compile(r"github\.com/([\w.-]+/ddim-book)\b"),
]
# In two parts, so that this file does not hold it.
ELSEWHERE = "some-school/" + "a.course_2"


def test_every_link_to_the_project_is_the_configured_one():
    repository, wrong, right = address.configured(ROOT), [], 0
    for path in address.texts(ROOT):
        for pattern in OWN_LINKS:
            for found in pattern.findall(path.read_text(encoding="utf-8")):
                right += found == repository
                wrong += [(str(path.relative_to(ROOT)), found)] if found != repository else []
    assert wrong == []
    assert right


def base(root: Path) -> str:
    """The base of canonical links, the sitemap and the social card."""
    text = (root / "_config.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["sphinx"]["config"]["html_baseurl"]


def test_the_pages_know_where_they_are_published():
    assert base(ROOT) == address.pages(address.configured(ROOT))


def test_every_file_that_holds_the_address_is_rewritten():
    """A new kind of file could hold it and be passed over."""
    known = set(address.texts(ROOT))
    forms = [form.encode() for form in address.forms(address.configured(ROOT))]
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    paths = [ROOT / name for name in tracked.stdout.decode().split("\0") if name]
    missed = [path for path in paths if path.is_file() and path not in known
              and any(form in path.read_bytes() for form in forms)]
    assert len(paths) > 50 and missed == []


def test_moving_leaves_no_trace(tmp_path):
    for path in address.texts(ROOT):
        place = tmp_path / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    (tmp_path / "page.ipynb").write_text(f"https://{address.forms(address.configured(ROOT))[1]}/")
    old = address.configured(tmp_path)
    changed = address.move(tmp_path, ELSEWHERE)
    names = {path.name for path in changed}
    assert {"pyproject.toml", "_config.yml", "CITATION.cff", "page.ipynb"} <= names
    assert address.configured(tmp_path) == ELSEWHERE
    owner, name = ELSEWHERE.split("/")
    assert base(tmp_path) == f"https://{owner}.github.io/{name}/"
    for path in address.texts(tmp_path):
        text = path.read_text(encoding="utf-8")
        assert not any(form in text for form in address.forms(old)), path
    # And back again: nothing else was touched.
    address.move(tmp_path, old)
    for path in address.texts(ROOT):
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("wrong", ["", "name", "a/b/c", "https://github.com/a/b", "a b/c"])
def test_an_address_that_is_none_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="owner/name"):
        address.move(tmp_path, wrong)
