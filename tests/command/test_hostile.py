"""Files from strangers: nothing in them runs, leaves its folder, or takes all memory."""

import ast
import io
import json
import os
import pickle
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_cli_train import TINY, assert_error, ddim, files  # noqa: F401
from test_datasets import idx, numbers, packed, png, write_mnist
from test_training import trainer
from test_weights import NETWORK, network

import ddim_lib
from ddim_lib.datasets import DatasetNotFoundError, load_folder, load_uint8
from ddim_lib.schedule import linear
from ddim_lib.weights import checkpoints, load_weights, read_facts, save_weights
from ddim_lib.weights.checkpoints import read_published

ROOT = Path(__file__).resolve().parents[2]


# Pickles -----------------------------------------------------------------------------------------

class Bomb:
    """Read without care, this pickle makes a folder."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


KINDS = ["pickle", "old pickle", "zip", "legacy", "among tensors", "numpy"]


def plant(path, kind, mark):
    """A file that makes the folder ``mark`` when a careless reader opens it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bomb = Bomb(mark)
    if kind.endswith("pickle"):
        path.write_bytes(pickle.dumps(bomb, protocol=0 if kind == "old pickle" else 4))
    elif kind == "numpy":
        np.save(path.open("wb"), np.array([bomb], dtype=object))
    else:
        content = {**network().state_dict(), "bomb": bomb} if kind == "among tensors" else bomb
        torch.save(content, path, _use_new_zipfile_serialization=kind != "legacy")


@pytest.mark.parametrize("kind", KINDS)
def test_the_bombs_go_off_in_careless_hands(kind, tmp_path):
    plant(tmp_path / "x", kind, tmp_path / "mark")
    assert not (tmp_path / "mark").exists()
    if kind == "numpy":
        np.load(tmp_path / "x", allow_pickle=True)
    elif kind.endswith("pickle"):
        pickle.loads((tmp_path / "x").read_bytes())
    else:
        torch.load(tmp_path / "x", weights_only=False)
    assert (tmp_path / "mark").is_dir()


def hub_folder(path):
    """diffusers' layout, whose .bin is the planted file."""
    folder = path.parent / "hub"
    ddim_lib.write_diffusers(folder, network(), linear())
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    path.rename(folder / "diffusion_pytorch_model.bin")
    return folder


READERS = {
    "checkpoint.pt": lambda path: trainer().load(path),
    "net.safetensors": load_weights,
    "facts.safetensors": read_facts,
    "theirs.safetensors": lambda path: read_published(path, config=NETWORK),
    "theirs.ckpt": lambda path: read_published(path, config=NETWORK),
    "theirs.pt": read_published,
    "theirs.pth": read_published,
    "theirs.bin": read_published,
    "hub.bin": lambda path: read_published(hub_folder(path)),
    "model-790000.ckpt": lambda path: ddim_lib.load_pretrained("cifar10", path=path),
    "picture.png": lambda path: load_folder(path.parent, 8),
    "pictures.zip": lambda path: load_folder(path, 8),
    "pictures.tar": lambda path: load_folder(path, 8),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_reader_executes_a_pickle(name, kind, tmp_path):
    path, mark = tmp_path / "in" / name, tmp_path / "mark"
    plant(path, kind, mark)
    with pytest.raises((ValueError, DatasetNotFoundError)) as caught:
        READERS[name](path)
    named = "diffusion_pytorch_model.bin" if name == "hub.bin" else name
    assert named in str(caught.value) and not mark.exists()


@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy"])
def test_no_command_executes_a_pickle(kind, ddim, tmp_path):  # noqa: F811
    mark = tmp_path / "mark"
    for name in ("run/checkpoint.pt", "net.safetensors", "net.pt", "net.ckpt"):
        plant(tmp_path / name, kind, mark)
    before = files(tmp_path)
    for command, words in [
        ((*TINY, "--out", "run", "--resume"), ("'--resume'", "run/checkpoint.pt is not a checkpo")),
        (("sample", "--weights", "net.safetensors", "--out", "x.png"), ("'--weights'", "damaged")),
        (("sample", "--weights", "net.pt", "--out", "x.png"), ("'--weights'", "net.pt")),
        (("weights", "info", "net.safetensors"), ("net.safetensors is not a safetensors file",)),
        (("weights", "convert", "net.pt", "y.safetensors"), ("'IN'", "net.pt is no checkpoint")),
        (("weights", "convert", "net.ckpt", "y"), ("'IN'", "run code of its own, which is refus")),
        (("train", "digits", "--folder", "net.pt", "--out", "z"), ("'--folder'", "net.pt")),
    ]:
        assert_error(ddim(*command), *words)
        assert not mark.exists() and files(tmp_path) == before


def test_cifar10s_own_pickles_are_read_only_if_they_are_the_published_ones(tmp_path):
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    folder, mark = tmp_path / "cifar-10-batches-py", tmp_path / "mark"
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        plant(folder / name, "pickle", mark)
    for split in ("train", "test"):
        with pytest.raises(DatasetNotFoundError, match="data set 'cifar10'.*download=True"):
            load_uint8("cifar10", split, root=tmp_path)
    assert not mark.exists()


def test_mnists_older_pickles_are_not_executed(tmp_path):
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    write_mnist(tmp_path, "MNIST")
    for name in ("training.pt", "test.pt"):
        plant(tmp_path / "MNIST" / "processed" / name, "zip", tmp_path / "mark")
    with pytest.raises(ValueError, match="data set 'mnist' in .* is damaged: remove it and pass"):
        load_uint8("mnist", root=tmp_path)
    assert not (tmp_path / "mark").exists()


def test_nothing_in_the_code_reads_a_pickle_or_unpacks_an_archive():
    """Whatever is added later: torch.load asks for weights alone, and nothing else is there."""
    forbidden = {"pickle.load", "pickle.loads", "pickle.Unpickler", "eval", "exec", "np.load",
                 "numpy.load", "joblib.load", "shutil.unpack_archive", "yaml.load", "os.system"}
    loads, library = 0, [*(ROOT / "ddim_lib").rglob("*.py")]
    assert len(library) >= 40  # a glob that sees less would prove less
    for path in (*library, *(ROOT / "proofs").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in forbidden, f"{path.name}:{node.lineno}"
                assert not called.endswith((".extractall", ".extract")), f"{path}:{node.lineno}"
                if called == "torch.load":
                    loads += 1
                    told = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                    assert told.get("weights_only") == "True", f"{path.name}:{node.lineno}"
    assert loads >= 2


# Descriptions ------------------------------------------------------------------------------------

@pytest.mark.parametrize("change", [
    {"unet": json.dumps({**NETWORK.to_dict(), "ch": 2**20})}, {"unet": "[" * 100_000},
    {"unet": "[]"}, {"unet": "7"}, {"unet": '{"ch": 1e400}'}, {"unet": "{not json"},
    {"unet": json.dumps({**NETWORK.to_dict(), "path": "x"})}, {"schedule": "[1, 2]"},
    {"schedule": '{"name": "linear", "T": 1e9}'}, {"schedule": '{"name": "__import__"}'},
    {"schedule": '{"name": "linear", "beta_start": "1"}'}, {"schedule": "null"},
], ids=lambda change: str(change)[:60])
def test_a_description_that_lies_is_an_error_and_takes_no_memory(change, tmp_path, monkeypatch):
    path, places = tmp_path / "x.safetensors", []
    header = {"format": "ddim_lib 1", "unet": json.dumps(NETWORK.to_dict()),
              "schedule": json.dumps(linear().to_dict()), **change}
    save_file(network().state_dict(), path, header)

    def build(*arguments):
        places.append(torch.empty(0).device.type)
        return ddim_lib.UNet(*arguments)

    monkeypatch.setattr(checkpoints, "UNet", build)
    with pytest.raises(ValueError, match="(the tensors of .*x.safetensors do not fit its "
                                         "own description|x.safetensors: .*it is not JSON)"):
        load_weights(path)
    assert places == ["meta"] * ('"ch": 1048576' in change.get("unet", ""))


def test_a_read_network_owns_its_numbers(tmp_path):
    """The file may change or vanish; and reading draws nothing from the global generator."""
    path, net = tmp_path / "x.safetensors", network()
    save_weights(path, net, linear())
    state = torch.get_rng_state()
    found, _ = load_weights(path)
    assert torch.equal(torch.get_rng_state(), state)
    path.write_bytes(bytes(path.stat().st_size))
    for key, value in net.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    assert all(p.requires_grad and p.device.type == "cpu" for p in found.parameters())


# Archives and pictures ---------------------------------------------------------------------------

def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


PICTURE = png(numbers(8, 8))
NAMES = ["../../up.png", "/tmp/ddim-root.png", "C:\\windows.png", "a/../../b.png", "..\\..\\c.png"]


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_names_that_lead_out_of_an_archive_lead_nowhere(ending, tmp_path):
    path = packed(tmp_path / "in" / "deep" / f"x.{ending}", dict.fromkeys(NAMES, PICTURE))
    before = tree(tmp_path)
    assert len(load_folder(path, 8)) == len(NAMES)
    assert tree(tmp_path) == before and not Path("/tmp/ddim-root.png").exists()


def test_links_and_devices_in_a_tar_are_not_followed(tmp_path):
    secret, path = tmp_path / "secret.png", tmp_path / "x.tar"
    secret.write_bytes(PICTURE)
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"{kind.decode()}.png")
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
    with pytest.raises(ValueError, match="cannot read 4 of 4 pictures, .*link in an archive"):
        load_folder(path, 8)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(
        ">I", zlib.crc32(kind + content))


def vast_png(side):
    """A black picture of side x side pixels, one bit each, in a few kilobytes."""
    lines = zlib.compress(bytes((side // 8 + 1) * side), 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return (b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", lines) + chunk(b"IEND", b""))


@pytest.mark.parametrize("where", ["x", "x.zip"])
def test_a_picture_that_unfolds_to_gigabytes_is_refused(where, tmp_path):
    content = vast_png(16_000)  # 256 million pixels
    assert len(content) < 50_000
    path = packed(tmp_path / where, {"vast.png": content})
    with pytest.raises(ValueError, match="vast.png: .*could be decompression bomb"):
        load_folder(path, 8)


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_says(tmp_path):
    path = packed(tmp_path / "x.zip", {"vast.png": bytes(300_000_000)})
    content = path.read_bytes()
    with pytest.raises(ValueError, match="vast.png: its file has 300,000,000 bytes, at most"):
        load_folder(path, 8)
    assert content.count(struct.pack("<I", 300_000_000)) == 2
    path.write_bytes(content.replace(struct.pack("<I", 300_000_000), struct.pack("<I", 1000)))
    with pytest.raises(ValueError, match="cannot read the picture .*vast.png: Bad CRC-32"):
        load_folder(path, 8)


def test_no_picture_starts_another_program(tmp_path, monkeypatch):
    """Pillow hands EPS to Ghostscript, whatever the file's ending is."""
    (tmp_path / "bin").mkdir()
    ghost = tmp_path / "bin" / "gs"
    ghost.write_text(f"#!/bin/sh\ntouch '{tmp_path}/mark'\n")
    ghost.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    content = (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
               b"0 0 8 8 rectfill\nshowpage\n%%EOF\n")
    packed(tmp_path / "in", {"x.png": content})
    with pytest.raises(ValueError, match="cannot read the picture .*x.png: it is no PNG"):
        load_folder(tmp_path / "in", 8)
    assert not (tmp_path / "mark").exists()
    from PIL import EpsImagePlugin

    EpsImagePlugin.gs_binary = None  # it remembers what it found before
    with pytest.raises(Exception), Image.open(io.BytesIO(content)) as picture:  # noqa: B017
        picture.load()
    assert (tmp_path / "mark").exists()  # the trap does work


# Data sets that are damaged ----------------------------------------------------------------------

@pytest.mark.parametrize("damage", ["cut", "empty", "text", "labels", "fewer labels"])
@pytest.mark.parametrize("download", [False, True])
def test_a_damaged_mnist_is_called_damaged_and_not_missing(damage, download, tmp_path):
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    write_mnist(tmp_path, "MNIST")
    pictures, labels = (tmp_path / "MNIST" / "raw" / f"train-{name}-ubyte" for name in (
        "images-idx3", "labels-idx1"))
    if damage == "labels":
        labels.write_bytes(labels.read_bytes()[:-3])
    elif damage == "fewer labels":
        idx(labels, np.zeros(6, np.uint8))
    else:
        content = {"cut": pictures.read_bytes()[:-100], "empty": b"", "text": b"<html>no</html>"}
        pictures.write_bytes(content[damage])
    with pytest.raises(ValueError, match="data set 'mnist' in .* is damaged: remove it and pass"):
        load_uint8("mnist", root=tmp_path, download=download)
    assert len(load_uint8("mnist", "test", root=tmp_path)[0]) == 4  # the other split is whole
