"""The pages as a site: their addresses, and any host or folder that they may lie in."""

import base64
import json
import re
import shutil
import struct
from xml.etree import ElementTree

import pytest
from test_page_weight import scroll
from test_pages import (  # noqa: F401
    PAGES,
    ROOT,
    SITE,
    Quiet,
    address,
    browser,
    parsed,
    served,
    watched,
)

from scripts import address as project_address

BASE = project_address.pages(project_address.configured(ROOT))


def meta(name: str) -> dict[str, str]:
    """What a page says of itself, by the name; the first where it says so twice."""
    return {one.get("property") or one.get("name"): one["content"]
            for one in reversed(parsed(name).select("meta[content]"))}


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize("name", PAGES)
def test_addresses_and_card(name):
    page, said = parsed(name), meta(name)
    assert page.html["lang"] == "en"
    assert [link["href"] for link in page.select("link[rel=canonical]")] == [BASE + name]
    assert said["og:url"] == BASE + name
    assert said["og:image"] == f"{BASE}_static/social_card.png"
    assert said["twitter:card"] == "summary_large_image"
    assert len(said["og:image:alt"]) > 20
    assert page.select("link[rel*=icon][href]")


@pytest.mark.usefixtures("address")
def test_titles_and_descriptions_tell_pages_apart():
    titles = {name: parsed(name).title.text for name in PAGES}
    assert len(set(titles.values())) == len(titles)
    whole = "Denoising Diffusion Implicit Models: an executable book"
    assert titles["book/index.html"] == whole
    for name in PAGES:
        assert name == "book/index.html" or titles[name].endswith(f" — {whole}")
        text = meta(name).get("description", "")
        assert 30 <= len(text) <= 300, f"{name}: {text!r}"
        assert text[-1] in ".?!", text
        assert not re.search(r"Open in Colab|You will be able|\\|\$|^Takes", text), text
        assert meta(name)["og:description"] == text
    descriptions = [meta(name)["description"] for name in PAGES]
    assert len(set(descriptions)) == len(descriptions)


@pytest.mark.usefixtures("address")
def test_nothing_that_a_page_fetches_is_absolute():
    """By itself, a browser; a link is followed by a reader."""
    for path in SITE.rglob("*.html"):
        page = parsed(str(path.relative_to(SITE)))
        fetched = [link["href"] for link in page.select("link[href]:not([rel=canonical])")]
        for key in ("src", "poster", "srcset"):
            fetched += [one[key] for one in page.select(f"[{key}]")]
        assert [a for a in fetched if re.match(r"(https?:)?//|/", a)] == [], path


@pytest.mark.usefixtures("address")
def test_the_sitemap_names_every_page():
    space = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
    places = [e.text for e in ElementTree.parse(SITE / "sitemap.xml").iter(f"{space}loc")]
    assert sorted(places) == sorted(BASE + name for name in PAGES)


@pytest.mark.usefixtures("address")
def test_a_notebook_for_download_has_its_pictures_inside():
    notebooks = sorted((SITE / "_sources" / "book").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        shown = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)
        assert shown and all(re.match(r"data:image/(png|svg\+xml);base64,", s) for s in shown)
    badge = (ROOT / "book" / "_assets" / "colab.svg").read_bytes()
    assert base64.b64decode(shown[0].partition(",")[2]) == badge


def test_the_card_is_a_picture_of_the_right_size():
    card = (ROOT / "book" / "_assets" / "social_card.png").read_bytes()
    assert card[:8] == b"\x89PNG\r\n\x1a\n" and len(card) < 200_000
    assert struct.unpack(">II", card[16:24]) == (1200, 630)


def test_the_icons_are_what_their_script_draws(tmp_path, monkeypatch):
    from scripts.assets import icon

    monkeypatch.setattr(icon, "ASSETS", tmp_path)
    icon.main()
    committed = ROOT / "book" / "_assets"
    assert (tmp_path / "favicon.svg").read_text() == (committed / "favicon.svg").read_text()
    from PIL import Image

    for name, side in [("favicon.ico", 32), ("apple-touch-icon.png", 180)]:
        with Image.open(tmp_path / name) as new, Image.open(committed / name) as old:
            assert new.size == old.size == (side, side)
            assert new.convert("RGB").tobytes() == old.convert("RGB").tobytes()


@pytest.fixture(scope="module")
def below(address, tmp_path_factory):  # noqa: F811
    """The site below a path of its own; a host that shows 404.html for what it does not have."""
    top = tmp_path_factory.mktemp("host")
    (top / "some" / "sub").mkdir(parents=True)
    (top / "some" / "sub" / "path").symlink_to(SITE, target_is_directory=True)

    class Host(Quiet):
        error_message_format = (SITE / "404.html").read_text("utf-8").replace("%", "%%")

    with served(Host, top) as root:
        yield f"{root}/some/sub/path/"


@pytest.mark.parametrize("place", ["sub-path", "folder", "folder with odd signs"])
@pytest.mark.parametrize("name", ["index.html", "book/06_ddim_and_ddpm.html"])
def test_the_site_works_anywhere(browser, below, tmp_path, place, name):  # noqa: F811
    if place == "sub-path":
        start = below
    elif place == "folder":
        start = SITE.as_uri() + "/"
    else:
        start = shutil.copytree(SITE, tmp_path / "a b%20#ü").as_uri() + "/"
    page = browser.new_page()
    faults = watched(page, start)
    page.goto(start + name, wait_until="load")
    page.wait_for_function("document.querySelectorAll('article mjx-container').length > 5")
    page.wait_for_load_state("networkidle")
    scroll(page)
    assert page.url.split("#")[0].endswith(name.replace("index.html", "book/index.html"))
    assert page.evaluate("document.fonts.check('16px MJXTEX')")
    # Images further down are only fetched where the page is scrolled to, and take their time.
    page.wait_for_function("[...document.images].every(i => i.naturalWidth)")
    # The style sheet is there: the sidebar stands beside the text.
    sidebar = "getComputedStyle(document.querySelector('.bd-sidebar')).display"
    assert page.evaluate(sidebar) == "flex"
    assert faults == []
    page.close()


@pytest.mark.parametrize("lost", ["book/no_such.html", "book/api/deeper/no_such.html"])
def test_a_lost_reader_finds_back(browser, below, lost):  # noqa: F811
    page = browser.new_page()
    assert page.goto(below + lost).status == 404
    assert page.locator("#find").get_attribute("href").endswith("/some/sub/path/search.html")
    page.locator("#home").click()
    page.wait_for_load_state()
    assert page.url == f"{below}book/index.html"
    page.close()
