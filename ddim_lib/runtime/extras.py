"""Packages that a part of the library needs and a plain installation leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(need: str, name: str = "train") -> Iterator[None]:
    """Around an import: where the package is missing, the error says what installs it.

    Args:
        need: a sentence, "the sliders need ipywidgets".
        name: of the extra that brings the package.

    Raises:
        ImportError: it is missing.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f'{need}: pip install "ddim-lib[{name}]"') from error
