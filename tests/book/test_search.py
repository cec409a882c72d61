"""Search in the built pages finds the chapter, from a server and from a folder."""

import re

import pytest
from test_pages import SITE, address, browser, visit, watched  # noqa: F401

RESULT = "#search-results ul.search > li"


@pytest.mark.parametrize(("words", "chapter"), [
    ("slerp", "08_latent_space"),
    ("eta", "06_ddim_and_ddpm"),
    ("signal-to-noise", "01_noising"),
    ("Fréchet", "05_fast_sampling"),
    ("frechet", "05_fast_sampling"),
    ("sigma_hat", "06_ddim_and_ddpm"),
    ("encode", "09_inversion"),
    ("oracle", "02_oracle"),
    ("1000", "01_noising"),
    ("σ", "06_ddim_and_ddpm"),
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
    for told in page.locator(f"{RESULT} .context").all_inner_texts():
        assert not re.search(r"\\\(|\\[a-z]|Colab: install", told), told
    assert faults == []


def test_search_counts_pages_and_shows_few_entries_of_each(visit):  # noqa: F811
    page, _ = visit("search.html?q=DDIM")
    page.get_by_text("Search finished").wait_for()
    links = page.locator(f"{RESULT} > a:first-child")
    pages = [href.split("#")[0].split("?")[0]
             for href in links.evaluate_all("all => all.map(a => a.getAttribute('href'))")]
    told = int(re.search(r"(\d+) page", page.locator(".search-summary").inner_text())[1])
    assert told == len(set(pages)) > 10
    assert max(map(pages.count, pages)) <= 3


@pytest.mark.parametrize("words", ["slerp", "eta"])
def test_what_is_found_does_not_scroll_sideways(visit, words):  # noqa: F811
    page, _ = visit(f"search.html?q={words}", viewport={"width": 320, "height": 800})
    page.get_by_text("Search finished").wait_for()
    page.locator(f"{RESULT} .context").last.wait_for()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 320


@pytest.mark.parametrize("name", ["search.html", "book/notation.html"])
def test_the_magnifier_lies_beside_what_is_typed(visit, name):  # noqa: F811
    page, _ = visit(name)
    if name != "search.html":
        page.keyboard.press("Control+k")
    place = page.locator("form.bd-search:visible").first
    icon = place.locator("i").bounding_box()
    start = place.locator("input").evaluate(
        "e => e.getBoundingClientRect().left + parseFloat(getComputedStyle(e).paddingLeft)")
    assert start >= icon["x"] + icon["width"] + 2


def test_search_from_a_folder(address, browser):  # noqa: F811
    page = browser.new_page()
    faults = watched(page, SITE.as_uri())
    page.goto(f"{SITE.as_uri()}/search.html?q=slerp")
    page.locator(f"{RESULT} a").first.click()
    page.wait_for_load_state()
    assert "/book/08_latent_space.html" in page.url
    assert faults == []
    page.close()


@pytest.mark.usefixtures("address")
def test_the_search_index_holds_words_not_data():
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    for junk in ("ivborw0kggo", "layoutmodel", "_view_count", "base64", "9j4aaq"):
        assert junk not in text.lower()
    assert max(map(len, re.findall(r"\w+", text.split('"terms":')[1]))) < 80
