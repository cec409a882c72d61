"""MathJax in one file, its helpers once: nothing but copies is replaced."""

from pathlib import Path

import pytest

from scripts.assets import mathjax_parts

SCRIPTS = Path(__file__).resolve().parents[2] / "node_modules" / "mathjax" / "es5"
READ = "function(t,e){{if(t){{return {}}}return e}}"


def module(helper: str, name: str = "read") -> str:
    return f"!function(){{var n=this&&this.__{name}||{helper};n(1)}}();"


def test_copies_that_differ_in_local_names_are_written_once():
    script = module(READ.format("e")) + module("function(a,b){if(a){return b}return b}")
    shared = mathjax_parts.share_helpers(script)
    assert shared.count("function(t,e)") == 1 and "function(a,b)" not in shared
    assert shared.count("n=MathJaxHelpers.read;n(1)") == 2


@pytest.mark.parametrize("other", [
    "function(a,b){if(a){return a}return b}",
    "function(a,b){if(b){return b}return b}",
    "function(a,b){if(a){return'e'}return b}",
])
def test_a_helper_that_does_something_else_stays(other):
    shared = mathjax_parts.share_helpers(module(READ.format("e")) + module(other))
    assert other in shared and shared.count("MathJaxHelpers.read") == 1


def test_brackets_in_strings_do_not_end_a_helper():
    text = "function(t){return \"}\"+'('}+rest"
    assert mathjax_parts.expression(text, 0) == "function(t){return \"}\"+'('}"
    with pytest.raises(ValueError, match="no end"):
        mathjax_parts.expression("function(t){", 0)


def test_a_helper_that_keeps_itself_brings_its_variable():
    helper = "(n=function(t){return n=t,n(t)},function(t){n(t)})"
    shared = mathjax_parts.share_helpers(module(helper, "extends"))
    own = "extends:function(){var n;return(n=function(t){return n=t,n(t)},function(t){n(t)})}()"
    assert own in shared


@pytest.mark.skipif(not SCRIPTS.is_dir(), reason="MathJax is not there: run `make book` first")
def test_mathjax_itself():
    whole = sum((SCRIPTS / part).with_suffix(".js").stat().st_size for part in mathjax_parts.PARTS)
    combined = mathjax_parts.combine(SCRIPTS)
    assert len(combined) < 0.9 * whole
    last = combined.index('checkVersion("a11y/assistive-mml"')
    assert combined.index("MathJax.loader.preLoad(...") < last
