"""The pages as a site: addresses, weight, search, and any host or folder they may lie in."""

import functools
import http.server
import re
import shutil
import struct
import threading
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import address as project_address
import pytest
from test_pages import (  # noqa: F401
    PAGES,
    ROOT,
    SITE,
    Quiet,
    address,
    browser,
    missing,
    visit,
)
from test_stylesheet import icons, stylesheet

BASE = project_address.pages(project_address.configured(ROOT))
CHAPTERS = [name for name in PAGES if re.search(r"/\d\d_", name)]
# Bytes, not compressed, that a page may ask for by itself, and those of a reader who scrolls down.
LANDING, REFERENCE, CHAPTER = 1_000_000, 1_500_000, 3_000_000
SCROLLED = 500_000


class Head(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.language, self.title, self.meta, self.links, self.addresses = "", "", {}, [], []
        self.in_title = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.in_title = tag == "title"
        if tag == "html":
            self.language = found.get("lang")
        elif tag == "meta" and "content" in found:
            self.meta.setdefault(found.get("property") or found.get("name"), found["content"])
        elif tag == "link":
            self.links.append(found)
        # What a browser fetches by itself; a link is followed by a reader.
        wanted = [found.get("src"), found.get("poster"), found.get("srcset")]
        if tag == "link" and found.get("rel") != "canonical":
            wanted.append(found.get("href"))
        self.addresses += filter(None, wanted)

    def handle_data(self, text):
        if self.in_title:
            self.title += text
            self.in_title = False


@functools.cache
def head(name: str) -> Head:
    return Head((SITE / name).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize("name", PAGES)
def test_addresses_and_card(name):
    found = head(name)
    assert found.language == "en"
    canonical = [link["href"] for link in found.links if link.get("rel") == "canonical"]
    assert canonical == [BASE + name]
    assert found.meta["og:url"] == BASE + name
    assert found.meta["og:image"] == f"{BASE}_static/social_card.png"
    assert found.meta["twitter:card"] == "summary_large_image"
    assert len(found.meta["og:image:alt"]) > 20
    assert [link["href"] for link in found.links if "icon" in link.get("rel", "")]


@pytest.mark.usefixtures("address")
def test_titles_and_descriptions_tell_pages_apart():
    titles = [head(name).title for name in PAGES]
    assert len(set(titles)) == len(titles)
    whole = "Denoising Diffusion Implicit Models: an executable book"
    assert head("book/index.html").title == whole
    for name in PAGES:
        title, meta = head(name).title, head(name).meta
        assert name == "book/index.html" or title.endswith(f" — {whole}")
        text = meta.get("description", "")
        assert 30 <= len(text) <= 300, f"{name}: {text!r}"
        assert text[-1] in ".?!", text
        assert not re.search(r"Colab|You will be able|\\|\$|^Takes", text), text
        assert meta["og:description"] == text
    descriptions = [head(name).meta["description"] for name in PAGES]
    assert len(set(descriptions)) == len(descriptions)


@pytest.mark.usefixtures("address")
def test_nothing_that_a_page_fetches_is_absolute():
    for path in SITE.rglob("*.html"):
        found = Head(path.read_text(encoding="utf-8"))
        assert [a for a in found.addresses if re.match(r"(https?:)?//|/", a)] == [], path


@pytest.mark.usefixtures("address")
def test_the_sitemap_names_every_page():
    space = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
    places = [e.text for e in ElementTree.parse(SITE / "sitemap.xml").iter(f"{space}loc")]
    pages = [name for name in PAGES if "_modules" not in name]
    assert sorted(p for p in places if "/_modules/" not in p) == sorted(BASE + n for n in pages)


def test_the_card_is_a_picture_of_the_right_size():
    card = (ROOT / "book" / "_assets" / "social_card.png").read_bytes()
    assert card[:8] == b"\x89PNG\r\n\x1a\n" and len(card) < 200_000
    assert struct.unpack(">II", card[16:24]) == (1200, 630)


def test_the_icons_are_what_their_script_draws(tmp_path, monkeypatch):
    import icon

    monkeypatch.setattr(icon, "ASSETS", tmp_path)
    icon.main()
    committed = ROOT / "book" / "_assets"
    assert (tmp_path / "favicon.svg").read_text() == (committed / "favicon.svg").read_text()
    from PIL import Image

    for name, side in [("favicon.ico", 32), ("apple-touch-icon.png", 180)]:
        with Image.open(tmp_path / name) as new, Image.open(committed / name) as old:
            assert new.size == old.size == (side, side)
            assert new.convert("RGB").tobytes() == old.convert("RGB").tobytes()


def scroll(page) -> None:
    page.evaluate(
        """async () => {
            for (let y = 0; y < document.body.scrollHeight; y += 400) {
                scrollTo(0, y);
                await new Promise(done => setTimeout(done, 30));
            }
        }"""
    )
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(200)


def weights(page) -> list[tuple[int, str]]:
    """The files that the page has asked for, with their sizes, the heaviest first."""
    asked = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    urls = {page.url, *(url for url in asked if url.startswith("http"))}
    paths = {unquote(urlsplit(url).path).lstrip("/") for url in urls}
    return sorted(((SITE / path).stat().st_size, path) for path in paths)[::-1]


@pytest.mark.parametrize("name", [*PAGES, "search.html"])
def test_weight(visit, name):  # noqa: F811
    page, _ = visit(name)
    bound = LANDING if name == "book/index.html" else CHAPTER if name in CHAPTERS else REFERENCE
    for more in (0, SCROLLED):
        if more:
            scroll(page)
        files = weights(page)
        assert len(files) > 5
        total = sum(size for size, _ in files)
        heaviest = "\n".join(f"{size:>10,} {path}" for size, path in files[:8])
        assert total <= bound + more, f"{total:,} bytes, of which\n{heaviest}"
    assert not any("fontawesome" in path or "html-manager" in path for _, path in files)


def test_search_index_and_scripts_come_only_where_they_are_used(visit):  # noqa: F811
    for name, wanted in [("book/notation.html", []),
                         ("search.html", ["searchtools", "searchindex"])]:
        page, _ = visit(name)
        sources = page.evaluate("[...document.scripts].map(s => s.src)")
        found = [word for word in ("searchtools", "searchindex", "togglebutton", "copybutton",
                                   "design-tabs", "bootstrap") if any(word in s for s in sources)]
        assert found == wanted, name


def test_menus_and_copy_buttons_come_at_the_first_touch(visit):  # noqa: F811
    page, faults = visit("book/05_fast_sampling.html")
    menu = page.locator(".article-header-buttons .dropdown-toggle").first
    entries = page.locator(".article-header-buttons .dropdown-menu").first
    assert not entries.is_visible() and page.locator("button.copybtn").count() == 0
    # No pointer has moved: this click is there before the script.
    menu.evaluate("button => button.click()")
    entries.wait_for(state="visible")
    page.locator("button.copybtn").first.wait_for(state="attached")
    assert faults == []


def untrimmed() -> str:
    """The sheets of site.css, whole but for the icons, which are not the theme's."""
    static, sheet = SITE / "_static", (SITE / "_static" / "site.css").read_text(encoding="utf-8")

    def whole(path: str) -> str:
        text = (static / path).read_text(encoding="utf-8").replace("url(../", "url(")
        return re.sub(r'@import "../(basic.css)";', lambda found: whole(found[1]), text)

    text = "".join(map(whole, re.match(r"/\* From ([^*]+) \*/", sheet)[1].split(", ")))
    assert "@import" not in text
    names = {re.sub(r"\\(.)", r"\1", n) for n in re.findall(r"[.#]((?:[\w-]|\\.)+)", text)}
    text = stylesheet.trim(text, names, re.compile(r"fa|fas|fab|far|fa-.+"))
    assert len(text) > 2 * len(sheet)
    return text + sheet[sheet.index(icons.CREDIT):]


LOOK = """() => [...document.querySelectorAll("body *")].map(e => {
    const s = getComputedStyle(e), r = e.getBoundingClientRect();
    return [e.tagName + "." + e.className, r.x, r.y, r.width, r.height, s.color, s.display,
        s.backgroundColor, s.fontSize, s.fontWeight, s.borderTopWidth, s.textDecorationLine];
})"""
SWAP = """async text => {
    const own = document.querySelector("link[href*='site.css']");
    const all = Object.assign(document.createElement("style"), {textContent: text});
    own.replaceWith(all);
    await new Promise(done => setTimeout(done, 400));
}"""


@pytest.mark.parametrize("name", [*PAGES, "search.html", "genindex.html"])
def test_trimming_changes_no_element(visit, name):  # noqa: F811
    """Place, size, colours and type of every element, with all rules and with those that stayed."""
    page, _ = visit(name, color_scheme="light", viewport={"width": 1280, "height": 900})
    # A change of colour takes its time.
    page.add_style_tag(content="* { transition: none !important; animation: none !important }")
    states = [("light", 1280), ("dark", 1280), ("dark", 400)]

    def looks() -> dict:
        found = {}
        for scheme, width in states:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
            page.wait_for_timeout(100)
            found[scheme, width] = page.evaluate(LOOK)
        return found

    trimmed = looks()
    page.evaluate(SWAP, untrimmed())
    full = looks()
    for state in states:
        assert len(full[state]) == len(trimmed[state]) > 50
        pairs = zip(full[state], trimmed[state], strict=True)
        assert [(state, *pair) for pair in pairs if pair[0] != pair[1]][:2] == []


@pytest.mark.parametrize("name", PAGES)
def test_pictures_have_a_place_before_they_come(visit, name):  # noqa: F811
    page, _ = visit(name)
    loose = page.evaluate(
        """() => [...document.querySelectorAll("article img")]
            .filter(i => /_images\\/.*\\.(png|jpe?g|webp|gif)$/.test(i.getAttribute("src")))
            .filter(i => !(+i.getAttribute("width") && +i.getAttribute("height")))
            .map(i => i.outerHTML.slice(0, 120))"""
    )
    assert loose == []
    eager = page.evaluate(
        """() => [...document.querySelectorAll("article img[src*='_images/']")]
            .filter(i => !/\\.svg$/.test(i.src) && i.loading !== "lazy").length"""
    )
    assert eager <= 1


RESULT = "#search-results ul.search > li"


@pytest.mark.parametrize(("words", "chapter"), [
    ("slerp", "07_latent_space"),
    ("eta", "06_ddim_and_ddpm"),
    ("signal-to-noise", "01_noising"),
    ("Fréchet", "05_fast_sampling"),
    ("frechet", "05_fast_sampling"),
    ("sigma_hat", "06_ddim_and_ddpm"),
    ("encode", "07_latent_space"),
    ("oracle", "02_oracle"),
])
def test_search_finds(visit, words, chapter):  # noqa: F811
    page, faults = visit(f"search.html?q={words}")
    page.locator(RESULT).first.wait_for()
    page.wait_for_load_state("networkidle")
    results = page.locator(RESULT).all()
    at = [i for i, result in enumerate(results)
          if f"/{chapter}.html" in result.locator("a").first.get_attribute("href")]
    assert at and at[0] < 4, f"{chapter} is not among the first four"
    excerpt = results[at[0]].locator(".context")
    excerpt.wait_for()
    assert len(excerpt.inner_text()) > 60 and ".pdf" not in excerpt.inner_text()
    assert faults == []


def test_search_from_a_folder(browser, address):  # noqa: F811
    page, faults = browser.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: m.type == "error" and faults.append(m.text))
    page.goto(f"{SITE.as_uri()}/search.html?q=slerp")
    page.locator(f"{RESULT} a").first.click()
    page.wait_for_load_state()
    assert "/book/07_latent_space.html" in page.url
    assert faults == []
    page.close()


@pytest.mark.usefixtures("address")
def test_the_search_index_holds_words_not_data():
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    for junk in ("ivborw0kggo", "layoutmodel", "_view_count", "base64", "9j4aaq"):
        assert junk not in text.lower()
    assert max(map(len, re.findall(r"\w+", text.split('"terms":')[1]))) < 80


@pytest.fixture(scope="module")
def below(tmp_path_factory):
    """The site below a path of its own; a host that shows 404.html for what it does not have."""
    if not PAGES:
        missing("there is no built book: run `make book` first")
    top = tmp_path_factory.mktemp("host")
    (top / "some" / "sub").mkdir(parents=True)
    (top / "some" / "sub" / "path").symlink_to(SITE, target_is_directory=True)

    class Host(Quiet):
        def send_error(self, code, message=None, explain=None):
            body = (SITE / "404.html").read_bytes()
            self.send_response(code)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    handler = functools.partial(Host, directory=top)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/some/sub/path/"
    server.shutdown()


@pytest.mark.parametrize("place", ["sub-path", "folder", "folder with odd signs"])
@pytest.mark.parametrize("name", ["index.html", "book/06_ddim_and_ddpm.html"])
def test_the_site_works_anywhere(browser, below, tmp_path, place, name):  # noqa: F811
    if place == "sub-path":
        start = below
    elif place == "folder":
        start = SITE.as_uri() + "/"
    else:
        start = shutil.copytree(SITE, tmp_path / "a b%20#ü").as_uri() + "/"
    page, faults = browser.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: m.type == "error" and faults.append(m.text))
    page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
    page.on("request", lambda r: r.url.startswith((start, "data:", "blob:"))
            or faults.append(f"outside: {r.url}"))
    page.goto(start + name, wait_until="load")
    page.wait_for_function("document.querySelectorAll('article mjx-container').length > 5")
    page.wait_for_load_state("networkidle")
    scroll(page)
    assert page.url.split("#")[0].endswith(name.replace("index.html", "book/index.html"))
    assert page.evaluate("document.fonts.check('16px MJXTEX')")
    assert page.evaluate("[...document.images].filter(i => !i.naturalWidth).length") == 0
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
