"""Stop with a plain message where Python is too old. Must itself run on any Python 3."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (older ones are what it is for)
    sys.stderr.write("This book needs Python 3.11 or later; this is " + sys.version + "\n")
    sys.stderr.write("Name another one: make setup PYTHON=python3.12\n")
    sys.exit(1)
