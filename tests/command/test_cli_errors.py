"""Bad input to the commands: one line that names the option, exit code 2, no file touched."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_cli import SHIPPED, ddim  # noqa: F401
from test_cli_train import assert_error, files

import ddim_lib
from ddim_lib.cli import output, together
from ddim_lib.cli.options import check_walk
from ddim_lib.sampling import coefficients
from ddim_lib.schedule import pairs, timesteps

SAMPLE = ("sample", "--weights", "tiny.safetensors", "--n", "2", "--steps", "2")
LABELLED = ("sample", "--weights", "labelled.safetensors", "--out", "x.png")
BETWEEN = ("interpolate", "--weights", "tiny.safetensors", "--steps", "2")
ENCODE = ("encode", "--weights", "tiny.safetensors", "--steps", "2", "--out", "x.npy")


@pytest.fixture
def folder(tmp_path):
    """What the bad commands name: damaged and foreign weights, pictures that are none."""
    whole = SHIPPED.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:100_000])
    (tmp_path / "text.safetensors").write_text("no weights at all")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    head, body = whole[:8 + int.from_bytes(whole[:8], "little")], b"\0" * 8
    (tmp_path / "head.safetensors").write_bytes(head + body)
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors", {"made_by": "others"})
    save_file({"x": torch.zeros(2)}, tmp_path / "spoilt.safetensors", {
        "format": "ddim_lib 1", "unet": "{not json", "schedule": "{}"})
    torch.save({"conv_in.weight": torch.zeros(2)}, tmp_path / "others.ckpt")
    (tmp_path / "stopped").mkdir()
    torch.save({"step": 1}, tmp_path / "stopped" / "checkpoint.pt")
    (tmp_path / "old.png").write_bytes(b"an older file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "is-a-folder.png").mkdir()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "fits.png")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "thesis.tex").write_text("not ours")
    return tmp_path


def test_the_examples_of_good_input_pass(ddim, folder):  # noqa: F811
    """Else the errors below might have another reason."""
    assert ddim(*SAMPLE, "--out", "x.png")[0] == 0
    assert ddim(*BETWEEN, "--out", "x.png")[0] == 0
    assert ddim(*ENCODE, "fits.png")[0] == 0


@pytest.mark.parametrize("command, words", [
    # weights
    (("sample", "--weights", "none.safetensors", "--out", "x.png"),
     ("'--weights'", "there is no such file", "none.safetensors", "mnist")),
    (("sample", "--weights", "mnits", "--out", "x.png"),
     ("'--weights'", "must be one of anime-faces", "'mnits'", "did you mean mnist?")),
    (("sample", "--weights", "cut.safetensors", "--out", "x.png"),
     ("'--weights'", "cut.safetensors is not a safetensors file, or is damaged")),
    (("sample", "--weights", "text.safetensors", "--out", "x.png"), ("'--weights'", "is damaged")),
    (("sample", "--weights", "empty.safetensors", "--out", "x.png"), ("'--weights'", "is damaged")),
    (("sample", "--weights", "head.safetensors", "--out", "x.png"), ("'--weights'", "is damaged")),
    (("sample", "--weights", "foreign.safetensors", "--out", "x.png"),
     ("'--weights'", "foreign.safetensors holds no network of this library")),
    (("sample", "--weights", "spoilt.safetensors", "--out", "x.png"),
     ("'--weights'", "what the file says of itself is damaged")),
    (("sample", "--weights", "empty", "--out", "x.png"), ("'--weights'", "'empty'", "convert")),
    (("sample", "--weights", "others.ckpt", "--out", "x.png"),
     ("'--weights'", "ddim weights convert others.ckpt")),
    (("sample", "--weights", "stopped/checkpoint.pt", "--out", "x.png"),
     ("'--weights'", "continues a run", "--resume")),
    (("sample", "--weights", "cifar10", "--out", "x.png"),
     ("'--weights'", "the published network 'cifar10'", "--download")),
    # the walk
    ((*SAMPLE, "--steps", "0", "--out", "x.png"), ("'--steps'", "0 is not in the range x>=1")),
    ((*SAMPLE, "--steps", "2000", "--out", "x.png"), ("'--steps'", "in 1..1000", "got 2000")),
    (("sample", "--weights", "colour.safetensors", "--steps", "21", "--out", "x.png"),
     ("'--steps'", "in 1..20", "got 21")),
    ((*SAMPLE, "--steps", "1.5", "--out", "x.png"), ("'--steps'", "'1.5'")),
    ((*SAMPLE, "--eta", "3", "--out", "x.png"), ("'--eta'", "must be at most 1.", "got 3", "hat")),
    ((*SAMPLE, "--eta", "abc", "--out", "x.png"), ("'--eta'", "at least 0", "hat", "'abc'")),
    ((*SAMPLE, "--eta", "-1", "--out", "x.png"), ("'--eta'", "at least 0", "'-1'")),
    ((*SAMPLE, "--eta", "nan", "--out", "x.png"), ("'--eta'", "'nan'")),
    ((*SAMPLE, "--eta", "inf", "--out", "x.png"), ("'--eta'", "'inf'")),
    ((*SAMPLE, "--spacing", "trialing", "--out", "x.png"),
     ("'--spacing'", "leading, trailing, quadratic, log-snr", "did you mean trailing?")),
    # seeds
    (("sample", "--seeds", "-1", "--out", "x.png"), ("'--seeds'", "0..4294967295", "'-1'")),
    (("sample", "--seeds", "4294967296", "--out", "x.png"), ("'--seeds'", "0..4294967295")),
    (("sample", "--seeds", "7-3", "--out", "x.png"), ("'--seeds'", "'7-3'")),
    (("sample", "--seeds", "1,,2", "--out", "x.png"), ("'--seeds'", "'1,,2'")),
    (("sample", "--seeds", "", "--out", "x.png"), ("'--seeds'", "''")),
    (("sample", "--seeds", "a-b", "--out", "x.png"), ("'--seeds'", "'a-b'")),
    (("sample", "--seeds", "0-4294967295", "--out", "x.png"), ("'--seeds'", "at most 1,000,000")),
    (("sample", "--n", "0", "--out", "x.png"), ("'--n'", "0 is not in the range")),
    ((*SAMPLE, "--seeds", "1", "--out", "x.png"), ("--seeds and --n exclude each other",)),
    # labels
    ((*LABELLED, "--labels", "seven"), ("'--labels'", "whole numbers, as 7 or 0-9", "'seven'")),
    ((*LABELLED, "--labels", "-1"), ("'--labels'", "whole numbers", "'-1'")),
    ((*LABELLED, "--labels", "0-9999999"), ("'--labels'", "at most 1,000,000 labels")),
    ((*LABELLED, "--labels", "0,3"), ("'--labels'", "must be in 0..2 for labelled, got 3")),
    ((*LABELLED, "--labels", "0-2", "--n", "2"), ("'--labels'", "one a picture, 2, got 3")),
    ((*LABELLED, "--labels", "1", "--guidance", "-1"), ("'--guidance'", "at least 0", "'-1'")),
    ((*LABELLED, "--labels", "1", "--guidance", "inf"), ("'--guidance'", "'inf'")),
    ((*LABELLED, "--guidance", "2"), ("--guidance needs --labels", "ddim sample --help")),
    ((*SAMPLE, "--labels", "1", "--out", "x.png"),
     ("'--labels'", "must be left out for tiny, a network without labels")),
    (("weights", "convert", "labelled.safetensors", "x"), ("'OUT'", "classes must be 0")),
    # what is written, and how
    (SAMPLE, ("Missing option '--out'", "ddim sample --help")),
    ((*SAMPLE, "--out", "x.jpg"), ("'--out'", ".png or .gif or .mp4", "'x.jpg'")),
    ((*SAMPLE, "--out", "x"), ("'--out'", "must end in", "'x'")),
    ((*SAMPLE, "--out", "is-a-folder.png"), ("'--out'", "'is-a-folder.png' is a folder")),
    ((*SAMPLE, "--out", "old.png/x.png"), ("--out old.png/x.png cannot be written",)),
    ((*SAMPLE, "--out", "x.png", "--fps", ".001"), ("'--fps'", "0.01 and at most 50", "'.001'")),
    ((*SAMPLE, "--out", "x.png", "--fps", "51"), ("'--fps'", "'51'")),
    ((*SAMPLE, "--out", "x.png", "--scale", "0"), ("'--scale'", "0 is not in the range 1<=x<=32")),
    ((*SAMPLE, "--out", "x.png", "--columns", "0"), ("'--columns'", "x>=1")),
    ((*SAMPLE, "--out", "x.png", "--frames", "1"), ("'--frames'", "x>=2")),
    ((*SAMPLE, "--out", "x.png", "--batch-size", "0"), ("'--batch-size'", "x>=1")),
    ((*SAMPLE, "--out", "x.png", "--show", "x1"), ("'--show'", "both, x, x0", "'x1'")),
    ((*SAMPLE, "--out", "x.png", "--device", "cuda"), ("'--device'", "auto or cpu", "no CUDA")),
    ((*SAMPLE, "--out", "x.png", "--device", "mps"), ("'--device'", "auto or cpu", "no MPS")),
    ((*SAMPLE, "--out", "x.png", "--device", "gpu"), ("'--device'", "auto, cpu, cuda", "'gpu'")),
    ((*SAMPLE, "--out", "x.png", "--step", "3"), ("--step", "ddim sample --help")),
    ((*SAMPLE, "--out", "x.png", "more"), ("more", "ddim sample --help")),
    (("smaple",), ("No such command 'smaple'", "ddim --help")),
    # interpolate
    ((*BETWEEN, "--seeds", "1,2,3", "--out", "x.png"), ("'--seeds'", "2 seeds without --grid",
                                                        "got 3")),
    ((*BETWEEN, "--seeds", "1,2", "--grid", "--out", "x.png"), ("'--seeds'", "4 seeds with")),
    ((*BETWEEN, "--grid", "--out", "x.gif"), ("'--out'", "not be a film", "x.gif")),
    ((*BETWEEN, "--frames", "1", "--out", "x.gif"), ("'--frames'", "2<=x<=1000")),
    ((*BETWEEN, "--steps", "1001", "--out", "x.gif"), ("'--steps'", "1..1000")),
    # encode
    (ENCODE, ("Missing argument 'PICTURE|FOLDER...'", "ddim encode --help")),
    ((*ENCODE[:-2], "fits.png"), ("--out or --decode must be given",)),
    ((*ENCODE, "none.png"), ("'PICTURE|FOLDER...'", "there is no none.png")),
    ((*ENCODE, "empty"), ("'PICTURE|FOLDER...'", "empty holds none", ".png")),
    ((*ENCODE, "fits.png", "broken.png"), ("broken.png cannot be read as a picture",)),
    ((*ENCODE, "fits.png", "--convention", "scource"), ("'--convention'", "did you mean source?")),
    ((*ENCODE, "fits.png", "--decode", "x.gif"), ("'--decode'", ".png", "'x.gif'")),
    ((*ENCODE[:-1], "old.png/x.npy", "fits.png"), ("--out old.png/x.npy cannot be written",)),
    # evaluate
    (("evaluate", "--weights", "tiny.safetensors", "--n", "2"),
     ("'--weights'", "(1, 28, 28)", "tiny draws (1, 8, 8)")),
    (("evaluate", "--weights", "anime-faces", "--n", "2"), ("anime-faces draws (3, 64, 64)",)),
    (("evaluate", "--n", "1"), ("at least 2 pictures", "got 1")),
    (("evaluate", "--n", "2", "--out", "x.txt"), ("'--out'", ".json", "'x.txt'")),
    (("evaluate", "--n", "2", "--steps", "2", "--out", "old.png/x.json"),
     ("--out old.png/x.json cannot be written",)),
    # weights
    (("weights", "info", "none"), ("'NAME|FILE'", "must be one of", "'none'")),
    (("weights", "info", "cut.safetensors"), ("'NAME|FILE'", "is damaged")),
    (("weights", "info", "foreign.safetensors"), ("'NAME|FILE'",)),
    (("weights", "info", "cifar10"), ("NAME|FILE", "published by others")),
    (("weights", "covnert"), ("No such command", "ddim weights --help")),
    (("weights", "convert", "none.ckpt", "x.safetensors"), ("'IN'", "none.ckpt")),
    (("weights", "convert", "cut.safetensors", "x.safetensors"), ("'IN'", "is damaged")),
    (("weights", "convert", "foreign.safetensors", "x.safetensors"), ("'IN'", "foreign")),
    (("weights", "convert", "others.ckpt", "x.safetensors", "--config", "cut.safetensors"),
     ("'--config'", "must be cifar10 or a JSON file", "'cut.safetensors'")),
    (("weights", "convert", "tiny.safetensors", "x", "--config", "cifar10"),
     ("'IN'", "--config must be left out for tiny.safetensors")),
    (("weights", "convert", "tiny.safetensors", "x", "--raw"),
     ("'IN'", "--raw must be left out for tiny.safetensors, which holds one set of weights")),
    (("weights", "convert", "others", "x.safetensors", "--raw"),
     ("'IN'", "--raw must be left out for others")),
    (("weights", "convert", "empty", "x.safetensors"), ("'IN'", "config.json")),
    (("weights", "convert", "tiny.safetensors", "x.ckpt"), ("'OUT'", ".safetensors", "'x.ckpt'")),
    (("weights", "convert", "tiny.safetensors", "others"), ("OUT others", "must be new or empty")),
    (("weights", "convert", "tiny.safetensors", "old.png/x"), ("OUT old.png/x cannot be",)),
    (("weights", "convert", "tiny.safetensors", "x", "--half"), ("--half needs an OUT",)),
], ids=lambda value: " ".join(value) if isinstance(value[0], str) and "'" not in value[0] else "")
def test_bad_input_is_one_line_and_touches_nothing(command, words, ddim, folder,  # noqa: F811
                                                   monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    before = files(folder), sorted(folder.rglob("*"))
    assert_error(ddim(*command), *words)
    assert (files(folder), sorted(folder.rglob("*"))) == before


def test_the_largest_eta_that_is_named_is_the_largest():
    schedule = ddim_lib.linear()
    for steps in (2, 10, 50):
        transitions = pairs(timesteps(1000, steps, "trailing"))
        with pytest.raises(Exception, match="must be at most") as error:
            check_walk(schedule, steps, "trailing", 50.0)
        most = float(str(error.value).split("must be at most ")[1].split()[0])
        check_walk(schedule, steps, "trailing", most)
        with pytest.raises(ValueError, match="negative"):
            for t, s in transitions:
                coefficients(schedule.at(t), schedule.at(s), most * 1.001 + 1e-4)


def test_the_folder_is_tried_before_the_work(ddim, folder, monkeypatch):  # noqa: F811
    """Nobody waits an hour for "Permission denied"."""
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(output, "try_writing", denied)
    monkeypatch.setattr(ddim_lib, "sample_iter", None)
    monkeypatch.setattr(together, "sample", None)
    monkeypatch.setattr(ddim_lib, "encode", None)
    for command in ((*SAMPLE, "--out", "x.png"), (*BETWEEN, "--out", "x.png"),
                    (*ENCODE, "fits.png"), ("evaluate", "--n", "2", "--out", "x.json"),
                    ("train", "digits", "--out", "run")):
        assert_error(ddim(*command), "cannot be written: Permission denied")


def test_a_full_disk_leaves_the_old_numbers(ddim, folder, monkeypatch):  # noqa: F811
    def full(*_):
        raise OSError(28, "No space left on device")

    (folder / "q.json").write_text(json.dumps({"old": 1}))
    monkeypatch.setattr(os, "fsync", full)
    result = ddim("evaluate", "--n", "2", "--steps", "1", "--out", "q.json")
    assert_error(result, "--out q.json cannot be written: No space left on device", "untouched")
    assert json.loads((folder / "q.json").read_text()) == {"old": 1}
    assert not [path for path in folder.iterdir() if path.name.startswith(".q")]
