"""Greek letters by their names, from the library's file: to import the library takes torch."""

import runpy

from ddim_shared.repository import ROOT

GREEK = runpy.run_path(str(ROOT / "ddim_lib" / "player" / "symbols.py"))["GREEK"]
