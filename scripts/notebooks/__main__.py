"""Run the chapters; see execution.py."""

import sys

from scripts.notebooks.execution import main

if __name__ == "__main__":
    sys.exit(main())
