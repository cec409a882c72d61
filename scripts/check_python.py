"""Stop with one line where Python is another than the lock is for. Must itself run on any."""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    here = ".".join(map(str, sys.version_info[:2]))
    sys.stderr.write("This book needs Python 3.11, 3.12 or 3.13, and this is " + here
                     + ": name another, as in make setup PYTHON=python3.12\n")
    sys.exit(1)
