"""Search in the built pages finds the chapter, from a server and from a folder."""

import re

import pytest
from test_pages import SITE, address, browser, visit  # noqa: F401

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
