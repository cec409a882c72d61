"""The library's reference: how signatures look, where the source is, what needs no link."""

from __future__ import annotations

import re

from ddim_shared import repository
from ddim_shared.nested import generated
from sphinx.application import Sphinx

from ddim_api import commands, stand_ins

# Types of other projects: this book links to no other host for them. One by one, so that a name of
# our own that is misspelt stays an error.
OUTSIDE = {("py:class", name) for name in (
    "Tensor", "collections.abc.Callable", "collections.abc.Iterable", "collections.abc.Iterator",
    "collections.abc.Mapping", "contextlib.AbstractContextManager",
    "collections.abc.Sequence", "numpy.ndarray", "pathlib.Path",
    "torch.Tensor", "torch._C.Generator", "torch.device", "torch.dtype",
    "torch.nn.modules.module.Module",
)}
# The parameters of a signature over several lines.
SIGNATURE = re.compile(r'(?<=<span class="sig-paren">\(</span>)\s*<dl>\n(.*?)</dl>', re.DOTALL)


def source(domain: str, info: dict) -> str | None:
    """The lines of an object of the library in the public repository."""
    if domain != "py" or not info["module"]:
        return None
    path = info["module"].replace(".", "/") + ".py"
    if not (repository.ROOT / path).is_file():
        path = info["module"].replace(".", "/") + "/__init__.py"
    node = repository.definitions(repository.ROOT / path).get(info["fullname"])
    if node is None:
        return repository.url(path)
    return repository.url(path, node.lineno, node.end_lineno)


def skip(app: Sphinx, what: str, name: str, obj: object, skipped: bool, options) -> bool | None:
    """A named tuple's fields stand in its docstring; Python's own text for them says nothing."""
    if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number"):
        return True
    return None


def named_type(app: Sphinx, env, node, contnode):
    """A type that has a name of its own, as Model, is data to Sphinx, which looks for classes."""
    target = node.get("reftarget")
    if node.get("reftype") != "class" or target not in env.domains["py"].objects:
        return None
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", target, node,
                                          contnode)


def parameter_lines(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """A long signature has a parameter a line, for Sphinx a list of descriptions of nothing, which
    a screen reader announces as a broken one: here plain lines instead."""
    if 'class="sig sig-object py"' in context.get("body", ""):
        context["body"] = SIGNATURE.sub(
            lambda found: '<span class="sig-lines">' + found[1].replace(
                "<dd>", '<span class="sig-line">').replace("</dd>", "</span>") + "</span>",
            context["body"])


def configure(app: Sphinx, config) -> None:
    stand_ins.load()
    config.linkcode_resolve = source
    config.nitpick_ignore = [*config.nitpick_ignore, *OUTSIDE]
    config.autodoc_member_order = "bysource"
    # Only what is written here: torch's text about every module's forward is not ours.
    config.autodoc_inherit_docstrings = False
    config.autodoc_typehints_format = "short"
    config.autodoc_type_aliases = {"Model": "ddim_lib.sampling.Model"}
    config.autodoc_preserve_defaults = True
    config.python_use_unqualified_type_names = True
    config.python_maximum_signature_line_length = 80
    config.add_module_names = False
    config.napoleon_numpy_docstring = False
    config.napoleon_use_rtype = False


def setup(app: Sphinx) -> dict:
    for extension in ("sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.linkcode"):
        app.setup_extension(extension)
    app.add_directive("ddim-commands", generated(
        commands.markdown, lambda: (repository.ROOT / "ddim_lib" / "cli").glob("*.py")))
    app.add_css_file("reference.css")
    app.connect("config-inited", configure)
    app.connect("missing-reference", named_type)
    app.connect("html-page-context", parameter_lines)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
