"""axe-core on every page: light and dark, wide and narrow."""

import pytest
from test_pages import PAGES, ROOT, address, browser, missing, visit  # noqa: F401

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
CHECK = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .flatMap(v => v.nodes.map(n => `${v.id}: ${n.target.join(" ")}: ${n.failureSummary}`))"""


@pytest.fixture
def axe() -> str:
    """Its script."""
    if not AXE.is_file():
        missing("axe-core is not there: run `npm ci --ignore-scripts`")
    return AXE.read_text(encoding="utf-8")


def violations(page, scheme: str | None = None) -> list[str]:
    if scheme and not page.url.endswith("404.html"):
        page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
    page.wait_for_timeout(400)
    return page.evaluate(CHECK)


@pytest.mark.parametrize("name", [*PAGES, "search.html", "genindex.html", "404.html"])
def test_no_serious_violation(axe, visit, name):  # noqa: F811
    page, _ = visit(name, color_scheme="light", viewport={"width": 1280, "height": 900})
    page.evaluate(axe)
    # What is folded has colours too.
    page.evaluate("document.querySelectorAll('article details').forEach(d => d.open = true)")
    found = {}
    for scheme, width in [("light", 1280), ("dark", 400)]:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        found[scheme, width] = violations(page, scheme)
    assert {where: what[:5] for where, what in found.items() if what} == {}


@pytest.mark.parametrize("fault", [
    "<p style='color: #888; background: #999'>pale</p>",
    "<button></button>",
    "<select><option>one</option></select>",
])
def test_a_fault_is_noticed(axe, visit, fault):  # noqa: F811
    """The check above can fail."""
    page, _ = visit("404.html")
    page.evaluate(axe)
    page.evaluate("html => document.querySelector('main').insertAdjacentHTML('beforeend', html)",
                  fault)
    assert len(violations(page)) == 1


def test_what_scrolls_sideways_can_be_reached(visit):  # noqa: F811
    page, _ = visit("book/06_ddim_and_ddpm.html", viewport={"width": 400, "height": 900})
    page.wait_for_timeout(600)
    out_of_reach = page.evaluate(
        """() => [...document.querySelectorAll("article *")].filter(e =>
            e.scrollWidth > e.clientWidth + 1
            && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
            && e.tabIndex !== 0 && !e.querySelector("a[href], button, input, [tabindex='0']"))
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert out_of_reach == []
    assert page.locator("article div.math[tabindex='0'][role=group]").count() > 0
    # On a wide screen nothing of it is in the way of the tab key.
    page.set_viewport_size({"width": 1400, "height": 900})
    page.wait_for_timeout(600)
    assert page.locator("article div.math[tabindex='0']").count() == 0
