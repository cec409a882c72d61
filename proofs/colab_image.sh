#!/usr/bin/env bash
# The proof inside Colab's own image. The runner needs nbval, which Colab lacks, and gets it where the notebooks do
# not see it.
set -euo pipefail
git config --global --add safe.directory "$PWD"
runtime=$(python3 -c "import sys; print(sys.executable)")
"$runtime" -m venv --system-site-packages /tmp/runner
/tmp/runner/bin/python -m pip install -q nbval
/tmp/runner/bin/python -m proofs.colab --runtime "$runtime"
