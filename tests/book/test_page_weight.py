"""What the pages ask for: how much, when, and that the trimmed style sheet changes nothing."""

import re
from urllib.parse import unquote, urlsplit

import pytest
from ddim_site import icons, styles, stylesheet
from test_pages import CHAPTERS, PAGES, SITE, address, browser, visit  # noqa: F401

# Bytes, not compressed, that a page may ask for by itself.
LANDING, REFERENCE, CHAPTER = 1_000_000, 1_500_000, 3_000_000


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
def test_no_page_asks_for_more_than_its_kind_may(visit, name):  # noqa: F811
    page, _ = visit(name)
    bound = LANDING if name == "book/index.html" else CHAPTER if name in CHAPTERS else REFERENCE
    files = weights(page)
    assert len(files) > 5
    total = sum(size for size, _ in files)
    heaviest = "\n".join(f"{size:>10,} {path}" for size, path in files[:8])
    assert total <= bound, f"{total:,} bytes, of which\n{heaviest}"
    assert not any("fontawesome" in path or "html-manager" in path for _, path in files)
    # Pictures have their place before they come.
    assert page.evaluate(
        """() => [...document.querySelectorAll("article img")]
            .filter(i => /_images\\/.*\\.(png|jpe?g|webp|gif)$/.test(i.getAttribute("src")))
            .filter(i => !(+i.getAttribute("width") && +i.getAttribute("height")))
            .map(i => i.outerHTML.slice(0, 120))"""
    ) == []
    assert page.evaluate(
        """() => [...document.querySelectorAll("article img[src*='_images/']")]
            .filter(i => !/\\.svg$/.test(i.src) && i.loading !== "lazy").length"""
    ) <= 1


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

    sheets = re.match(r"/\* From ([^*]+) \*/", sheet)[1].split(", ")
    text = "".join(styles.imported(static, path) for path in sheets)
    assert "@import" not in text
    names = {re.sub(r"\\(.)", r"\1", n) for n in re.findall(r"[.#]((?:[\w-]|\\.)+)", text)}
    variables = set(re.findall(r"--[\w-]+", text))
    text = stylesheet.trim(text, names, variables, styles.FONT_AWESOME)
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


# A page of each kind; the build itself looks at all of them.
KINDS = [name for name in PAGES
         if re.search(r"/(index|0[15]_\w+|10_\w+|glossary|how_we_know)\.", name)]


@pytest.mark.parametrize("name", [*KINDS, "search.html", "genindex.html"])
def test_trimming_changes_no_element(visit, name):  # noqa: F811
    """Place, size, colours and type of every element, with all rules and with those that stayed."""
    page, _ = visit(name, color_scheme="light", viewport={"width": 1280, "height": 900})
    # A change of colour takes its time.
    page.add_style_tag(content="* { transition: none !important; animation: none !important }")
    states = [("light", 1280), ("dark", 400)]

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
