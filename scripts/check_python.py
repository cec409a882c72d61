"""Stop with a plain message where Python is too old or too new. Must itself run on any Python 3."""

import sys

# requirements.lock pins packages that have wheels for these.
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.stderr.write("This book needs Python 3.11 to 3.13; this is " + sys.version + "\n")
    sys.stderr.write("Name another one: make setup PYTHON=python3.12\n")
    sys.exit(1)
