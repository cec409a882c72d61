"""Stop with a plain message where Python is too old. Must itself run on any Python 3."""
import sys

# The library itself asks for 3.11; one of the exact pins asks for 3.11.5.
if sys.version_info < (3, 11, 5):
    sys.exit(
        "This book needs Python 3.11.5 or later; {} is {}.\n"
        "Name another one: make setup PYTHON=python3.12".format(
            sys.executable, sys.version.split()[0]
        )
    )
