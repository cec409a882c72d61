"""The pages' style sheet: what the trimming drops and, above all, what it keeps."""

import subprocess

import pytest
from ddim_site import icons, stylesheet

CSS = """/*! MIT */
/* no .a */
.a { x: 1 }
.b { x: 2 }
.a, .b { x: 3 }
.a .b { x: 4 }
#a { x: 5 }
table > :not(.b) { x: 6 }
[data-x=".b"] { x: 7 }
.a:before { content: "}.b{" }
:focus-visible { x: 8 }
@media print { .b { x: 9 } .a { animation: used 1s } }
@keyframes used { to { x: 1 } }
@keyframes not { to { x: 1 } }
:root { --one: rgba(var(--two), .5); --two: 1; --three: 2; --js: 3 }
.a { x: var(--one) }
.a\\:b { x: 9 }
.a:is(.a, .b) { background: url(x;y) }
@font-face { font-family: b }
@media print { @supports (x: y) { .a { x: 1 } .b { x: 1 } } }
.fa-sun { x: 10 }
.fa-sun:before, .a .fa-sun { x: 11 }"""
LEFT = """/*! MIT */
.a { x: 1 }
.a { x: 3 }
#a { x: 5 }
table > :not(.b) { x: 6 }
[data-x=".b"] { x: 7 }
.a:before { content: "}.b{" }
*:focus-visible { x: 8 }
@media print { .a { animation: used 1s } }
@keyframes used { to { x: 1 } }
:root { --one: rgba(var(--two), .5); --two: 1; --js: 3 }
.a { x: var(--one) }
.a:is(.a) { background: url(x;y) }
@font-face { font-family: b }
@media print { @supports (x: y) { .a { x: 1 } } }
.a .fa-sun { x: 11 }"""


def test_rules_without_an_element_go_and_all_others_stay():
    left = stylesheet.trim(CSS, {"a", "fa-sun"}, {"--js"}, r"fa-\w+")
    assert left.split() == LEFT.split()


@pytest.mark.parametrize(("css", "said"), [
    (".a{x:1", "Unclosed block"), (".a{x:1}}", "Unexpected }")])
def test_a_sheet_that_is_cut_off_is_an_error(css, said, capfd):
    with pytest.raises(subprocess.CalledProcessError):
        stylesheet.trim(css, {"a"}, set())
    assert said in capfd.readouterr().err


def test_without_purgecss_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(stylesheet, "PLACES", [tmp_path])
    with pytest.raises(FileNotFoundError, match="npm ci --ignore-scripts"):
        stylesheet.trim(CSS, {"a"}, set())


def test_the_icons_of_a_page_are_found_and_drawn():
    page = '<i class="fa-solid fa-sun fa-lg"></i><i class="fab fa-github"></i><b class="fast">'
    assert icons.used([page]) == {("solid", "fa-sun"), ("brands", "fa-github")}
    script = ('p={github:[1,2,[],"f1","M0"]};d("fab",p);p={sun:[9,9,[],"f2","M9"]};d("far",p);'
              'p={"a-sun":[7,7,[],"f3","M7"],sun:[5,4,[1],"f2","M5"]};d("fas",p)')
    assert icons.drawing(script, "solid", "sun") == (5, 4, "M5")
    sheet = icons.sheet(icons.used([page]), script)
    assert ".fa-sun{--icon-ratio:1.25;" in sheet and "%3Cpath d='M0'/%3E" in sheet
    with pytest.raises(ValueError, match="no icon 'moon' in its pack 'solid'"):
        icons.drawing(script, "solid", "moon")
