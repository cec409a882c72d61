"""The public address stands in one place, and one command moves it."""

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from test_pages import PAGES, SITE, missing

from course.edition import leaks
from scripts import address

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def copied(tmp_path):
    """The texts of the checkout, in a folder of their own."""
    for path in address.texts(ROOT):
        place = tmp_path / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return tmp_path


def test_moving_leaves_no_trace(copied):
    (copied / "page.ipynb").write_text(f"https://{address.forms(address.configured(ROOT))[1]}/")
    old = address.configured(copied)
    changed = address.move(copied, ELSEWHERE)
    names = {path.name for path in changed}
    assert {"pyproject.toml", "_config.yml", "CITATION.cff", "page.ipynb"} <= names
    assert address.configured(copied) == ELSEWHERE
    owner, name = ELSEWHERE.split("/")
    assert base(copied) == f"https://{owner}.github.io/{name}/"
    for path in address.texts(copied):
        text = path.read_text(encoding="utf-8")
        assert not any(form in text for form in address.forms(old)), path
    # And back again: nothing else was touched.
    address.move(copied, old)
    for path in address.texts(ROOT):
        assert (copied / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_one_switch_lets_every_first_cell_install_from_pypi(copied):
    old = address.requirement(copied)
    changed = {path.relative_to(copied) for path in address.publish(copied)}
    notebooks = {path.relative_to(ROOT) for part in ("book", "course/source")
                 for path in (ROOT / part).rglob("*.ipynb")}
    assert changed >= notebooks | {Path("README.md"), Path("pyproject.toml")}
    assert address.requirement(copied) == "ddim-lib[train]"
    for path in address.texts(copied):
        assert old not in path.read_text(encoding="utf-8"), path
    first = json.loads((copied / "book" / "01_noising.ipynb").read_text())["cells"][1]["source"]
    assert first[-1].endswith('%pip install -q "ddim-lib[train]"')
    # The address moves as before, and a second time nothing changes.
    assert address.publish(copied) == []
    address.move(copied, ELSEWHERE)
    assert address.configured(copied) == ELSEWHERE


@pytest.mark.parametrize("wrong", ["", "name", "a/b/c", "https://github.com/a/b", "a b/c"])
def test_an_address_that_is_none_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="owner/name"):
        address.move(tmp_path, wrong)


# Every link to the project, and where it leads ---------------------------------------------------

HOSTS = r"(?:[\w-]+\.)?(?:github\.com|github\.io|githubusercontent\.com|mybinder\.org)"
LINK = re.compile(rf"(?:git\+)?https://(?:{HOSTS}|colab\.research\.google\.com/)[^\s\"'<>()\[\]`\\]*")
# Other people's projects that the text names; each is put here by hand.
OTHERS = {"https://github.com/huggingface/diffusers",
          "https://github.com/lucidrains/denoising-diffusion-pytorch"}


def kind(link: str, repository: str, root: Path = ROOT) -> str | None:
    """What a link of the book to such a host is; None where it is not one that the address yields.

    A link to a file or a page leads to one that `root` has.
    """
    owner, name = repository.split("/")
    git, branch = f"https://github.com/{repository}", "/blob/main/"
    pages, colab = f"https://{owner}.github.io/{name}", "https://colab.research.google.com/github/"
    link = unquote(link.rstrip(".,;:"))
    if link in OTHERS:
        return "other"
    file = re.sub(r"#L\d+(-L\d+)?$", "", link.partition(branch)[2])
    if link in (git, f"git+{git}"):
        return "install" if link.startswith("git+") else "repository"
    if link.startswith(f"{git}/issues/new?"):
        return "issue"
    if file and (root / file).is_file():
        if link.startswith(git + branch):
            return "file"
        if link == f"{colab}{repository}{branch}{file}" and file.endswith(".ipynb"):
            return "notebook"
    if link == pages or link.startswith(f"{pages}/"):
        page = Path(link.removeprefix(pages).strip("/") or "index.html")
        made = page.parts[:1] == ("_static",) or len(page.parts) == 1
        source = (root / page).with_suffix("")
        written = any(source.with_suffix(end).is_file() for end in (".md", ".ipynb"))
        return "page" if made or written else None
    return None


def texts_for_readers(root: Path) -> dict[str, str]:
    """What readers of the sources see, by file."""
    paths = [root / name for name in ("README.md", "CONTRIBUTING.md", "CITATION.cff")]
    paths += [path for part in ("book", "course") for path in (root / part).rglob("*")
              if path.suffix in (".md", ".ipynb", ".bib") and "vendor" not in path.parts]
    texts = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}
    return {name: "\n".join(leaks.strings(json.loads(text))) if name.endswith(".ipynb") else text
            for name, text in texts.items()}


def links(texts: dict[str, str], repository: str) -> tuple[Counter, list]:
    """How many links there are of each kind, and those that the address does not yield."""
    kinds, wrong = Counter(), []
    for name, text in texts.items():
        for link in LINK.findall(text):
            kinds[kind(link, repository)] += 1
            if kind(link, repository) is None:
                wrong.append((name, link))
    return kinds, wrong


def test_every_link_in_the_sources_follows_from_the_address():
    kinds, wrong = links(texts_for_readers(ROOT), address.configured(ROOT))
    assert wrong == []
    notebooks = [*(ROOT / "book").rglob("*.ipynb"), *(ROOT / "course" / "source").rglob("*.ipynb")]
    from_git = "git+" in address.requirement(ROOT)
    assert kinds["install"] == from_git * (len(notebooks) + 1)  # and the README's
    assert kinds["notebook"] >= len(notebooks)
    assert kinds["page"] >= 2 and kinds["repository"] >= 1 and kinds["file"] >= 1


def test_every_badge_opens_the_notebook_that_it_stands_in():
    for name, text in texts_for_readers(ROOT).items():
        if name.endswith(".ipynb"):
            opened = [link for link in LINK.findall(text) if "colab.research" in link]
            # Of an assignment's source students open the release.
            path = re.sub(r"^course/source/\w+/", "book/assignments/", name)
            assert [link.partition("/blob/main/")[2] for link in opened] == [path], name


@pytest.mark.parametrize("link", [
    "https://github.com/{0}-2",
    "https://github.com/somebody/else",
    "https://github.com/{0}/blob/main/book/none.md",
    "https://github.com/{0}/blob/master/README.md",
    "git+https://github.com/{0}.git",
    "https://colab.research.google.com/github/{0}/blob/main/README.md",
    "https://colab.research.google.com/github/{2}/other/blob/main/book/01_noising.ipynb",
    "https://colab.research.google.com/drive/1",
    "https://mybinder.org/v2/gh/{0}/main",
    "https://somebody.github.io/{1}/",
    "https://{2}.github.io/{1}/book/none.html",
    "https://raw.githubusercontent.com/{0}/main/README.md",
])
def test_a_link_that_leads_elsewhere_is_noticed(link):
    repository = address.configured(ROOT)
    owner, name = repository.split("/")
    link = link.format(repository, name, owner)
    assert LINK.findall(f"see [it]({link}).") == [link]
    assert kind(link, repository) is None


def test_when_the_address_moves_every_link_moves(copied):
    """Badges, launch and install lines, pages: as many of each kind as before, all of the new."""
    shutil.copyfile(ROOT / "LICENSE", copied / "LICENSE")
    before, _ = links(texts_for_readers(ROOT), address.configured(ROOT))
    address.move(copied, ELSEWHERE)
    after, wrong = links(texts_for_readers(copied), ELSEWHERE)
    assert wrong == [] and after == before
    config = yaml.safe_load((copied / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == f"https://github.com/{ELSEWHERE}"


def test_the_buttons_are_built_from_the_address():
    """Jupyter Book makes the rocket, the repository's and the issues' button of these."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"] == {"url": f"https://github.com/{address.configured(ROOT)}",
                                    "path_to_book": "", "branch": "main"}
    assert config["launch_buttons"]["colab_url"] == "https://colab.research.google.com"
    assert not {"binderhub_url", "jupyterhub_url", "deepnote_url"} & set(config["launch_buttons"])


@pytest.mark.parametrize("name", PAGES or ["none"])
def test_every_link_on_a_page_follows_from_the_address(name):
    if not PAGES:
        missing("there is no built book: run `make book` first")
    text = (SITE / name).read_text(encoding="utf-8").replace("&amp;", "&")
    repository = address.configured(ROOT)
    kinds, wrong = links({name: text}, repository)
    assert wrong == []
    # The buttons of every page, its own address, and the card's.
    assert kinds["repository"] >= 1 and kinds["issue"] >= 1 and kinds["page"] >= 3
    source = Path(name).with_suffix(".ipynb")
    if (ROOT / source).is_file():
        own = f"https://colab.research.google.com/github/{repository}/blob/main/{source}"
        opened = [link for link in LINK.findall(text) if "colab.research" in link]
        assert opened == [own] * 2  # the rocket, and the badge in the text
    issue = re.search(r"issues/new\?title=([^&]*)&", text)
    assert unquote(issue[1]) == f"Issue on page /{name}"
