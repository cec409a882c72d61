"""The pages' style sheet: what the trimming drops and, above all, what it keeps."""

import re

import pytest
from ddim_site import icons, stylesheet


@pytest.mark.parametrize(("css", "left"), [
    (".a{x:1}.b{x:2}", ".a{x:1}"),
    (".a,.b{x:1}", ".a{x:1}"),
    (".a .b,.a>p{x:1}", ".a>p{x:1}"),
    ("#a{x:1}#b{x:2}", "#a{x:1}"),
    ("table>:not(.b){x:1}", "table>:not(.b){x:1}"),
    (".a:is(.b,.c){x:1}", ".a:is(.b,.c){x:1}"),
    ("[data-x=\".b\"]{x:1}", "[data-x=\".b\"]{x:1}"),
    (".a:before{content:\"}.b{\"}", ".a:before{content:\"}.b{\"}"),
    (".a{background:url(x;y)}", ".a{background:url(x;y)}"),
    ("@media print{.b{x:1}}", ""),
    ("@media print{.b{x:1}.a{x:1}}", "@media print{.a{x:1}}"),
    ("@media print{@supports (x:y){.a{x:1}.b{x:1}}}",
     "@media print{@supports (x:y){.a{x:1}}}"),
    ("@keyframes b{0%{x:1}to{x:2}}", "@keyframes b{0%{x:1}to{x:2}}"),
    ("@font-face{font-family:b}", "@font-face{font-family:b}"),
    ("/* no .a */.a{x:1}", ".a{x:1}"),
    ("/*! MIT */.b{x:1}", "/*! MIT */"),
    ("@charset \"UTF-8\";.a{x:1}", ".a{x:1}"),
    (r".a\:b{x:1}.a{x:2}", ".a{x:2}"),
])
def test_rules_without_an_element_go_and_all_others_stay(css, left):
    assert stylesheet.trim(css, {"a"}) == left


def test_a_rule_for_icons_alone_goes_and_one_for_their_place_stays():
    fa = re.compile(r"fa-.+")
    css = ".fa-sun{x:1}.a .fa-sun{x:2}i{x:3}"
    assert stylesheet.trim(css, {"a", "fa-sun"}, fa) == ".a .fa-sun{x:2}i{x:3}"


@pytest.mark.parametrize("css", [".a{x:1", ".a{x:1}}"])
def test_a_sheet_that_is_cut_off_is_an_error(css):
    with pytest.raises(ValueError, match="style sheet"):
        stylesheet.trim(css, {"a"})


def test_unused_animations_and_variables_go():
    css = "@keyframes used{to{x:1}}@keyframes not{to{x:1}}.a{animation:used 1s}"
    assert stylesheet.drop_unused_keyframes(css) == "@keyframes used{to{x:1}}.a{animation:used 1s}"
    css = ":root{--one:rgba(var(--two),.5);--two:1;--three:var(--four);--four:\";\";--js:2}"
    css += ".a{x:var(--one)}"
    left = ":root{--one:rgba(var(--two),.5);--two:1;--js:2}.a{x:var(--one)}"
    assert stylesheet.drop_unused_variables(css, "read('--js')") == left


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
