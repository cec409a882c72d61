"""The field's symbols, written as plain names in code, as a reader sees them.

Single letters and the Greek ones become italic symbols, what follows an underscore their
subscript; other words stay: ``"level t"``, ``"eta"``, ``"alpha_t"``, ``"f_theta(x_t)"``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η",
         "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ",
         "tau": "τ", "phi": "φ"}


def page(text: str) -> str:
    """The text as HTML: ``"alpha_t"`` is an italic α with an italic t below."""
    def write(letter: str, below: str | None) -> str:
        below = f"<sub>{GREEK.get(below, below)}</sub>" if below else ""
        return f"<i>{GREEK.get(letter, letter)}{below}</i>"

    return _letters(html.escape(text, quote=False), write)


def mathtext(text: str) -> str:
    """The text for matplotlib: ``"alpha_t"`` is ``$\\alpha_{t}$``."""
    def tex(name: str) -> str:
        return f"\\{name}" if name in GREEK else name

    def write(letter: str, below: str | None) -> str:
        return f"${tex(letter)}" + (f"_{{{tex(below)}}}" if below else "") + "$"

    return _letters(text, write)


def _letters(text: str, write: Callable[[str, str | None], str]) -> str:
    # Not inside a word, nor the name of an HTML entity.
    return re.sub(r"(?<![A-Za-z&])([A-Za-z]+)(?:_([A-Za-z0-9]+))?",
                  lambda m: write(m[1], m[2]) if m[1] in GREEK or len(m[1]) == 1 else m[0], text)
