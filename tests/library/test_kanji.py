"""Kuzushiji-Kanji comes out of its archive whole, in order and without the blank pictures."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from test_datasets import packed, png
from test_download import impatient, serve  # noqa: F401

from ddim_lib.datasets import DatasetNotFoundError, kanji, load, load_uint8
from ddim_lib.storage.folders import data_root


def brush(seed):
    """Something like a character: white strokes of random places on black."""
    random = np.random.default_rng(seed)
    array = np.zeros((64, 64), np.uint8)
    for _ in range(4):
        y, x = random.integers(4, 50, 2)
        array[y:y + 3, x:x + 12] = random.integers(120, 256)
        array[y:y + 12, x:x + 3] = 255
    return array


# By name, U+2000B comes first; by code point it is the last.
INKED = {(code, f"{seed * 7919 % 101:016x}"): brush(seed) for seed, code in enumerate(
    [0x2000B, 0x4E00, 0x5B57, 0xFA5C, 0x4E00, 0x5B57, 0xFA5C, 0x4E00, 0x5B57, 0xFA5C, 0x4E00])}
BLANK = {(0x5B57, "0123456789abcdef"): np.zeros((64, 64), np.uint8),
         (0x4E00, "fedcba9876543210"): np.full((64, 64), 7, np.uint8)}
JUNK = {"._U+5B57": b"mac", "U+5B57/._0123456789abcdef.png": b"mac", "U+5B57/.DS_Store": b"mac",
        "README.txt": b"text", "cover.png": b"no character"}
WHOLE = "kkanji: 11 images of 4 characters from kkanji.tar; blank and left out: 2\n"


def contents(top="kkanji2/", kind="png", wanted=lambda code: True):
    files = {f"U+{code:04X}/{name}.{kind}": png(array, kind)
             for (code, name), array in (INKED | BLANK).items() if wanted(code)}
    return {top + name: content for name, content in (files | JUNK).items()}


def check(found):
    order = sorted(INKED)
    codes = sorted({code for code, _ in order})
    assert found.images.dtype == torch.uint8 and found.labels.dtype == torch.int64
    assert np.array_equal(found.images.numpy(), np.stack([INKED[key] for key in order])[:, None])
    assert found.labels.tolist() == [codes.index(code) for code, _ in order]
    assert [ord(c) for c in found.characters] == codes


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A set as small as the stand-in."""
    monkeypatch.setattr(kanji, "FILES", len(INKED | BLANK))


@pytest.mark.parametrize("place, top, kind", [
    ("kkanji.tar", "kkanji2/", "png"), ("kkanji.tar", "old/kkanji2/", "png"),
    ("kkanji.tar", "./kkanji2/", "png"), ("kkanji-64.zip", "kkanji2/", "webp"),
    ("kkanji.zip", "kkanji/kkanji2/", "png"), ("kkanji2", "", "png"),
    ("kkanji", "kkanji2/", "png")])
def test_every_form_of_the_set_gives_the_same(place, top, kind, tmp_path, capsys, monkeypatch):
    packed(tmp_path / place, contents(top, kind))
    before = sorted(tmp_path.rglob("*"))
    found = kanji.load(tmp_path)
    check(found)
    assert capsys.readouterr().out == WHOLE.replace("kkanji.tar", place)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked, nothing left behind
    monkeypatch.setenv("DDIM_DATA", str(tmp_path))
    images, labels = load_uint8("kkanji")
    assert torch.equal(images, found.images) and torch.equal(labels, found.labels)


def test_a_part_of_the_set_says_so(tmp_path, capsys):
    packed(tmp_path / "kkanji-64.zip", contents(wanted=lambda code: code != 0x4E00))
    assert [ord(c) for c in kanji.load(tmp_path).characters] == [0x5B57, 0xFA5C, 0x2000B]
    assert capsys.readouterr().out == ("kkanji: 7 images of 3 characters from kkanji-64.zip, not "
                                       "the set of 13 files; blank and left out: 1\n")


@pytest.mark.parametrize("contrast, left_out", [(0, True), (15, True), (16, False), (255, False)])
def test_blank_is_less_than_16_levels_of_contrast(contrast, left_out, tmp_path):
    faint = np.full((64, 64), 255 - contrast, np.uint8)
    faint[10, 10] = 255
    packed(tmp_path / "kkanji.tar", {"U+4E00/00.png": png(brush(1)), "U+5B57/01.png": png(faint)})
    found = kanji.load(tmp_path)
    assert found.characters == (["一"] if left_out else ["一", "字"])
    assert len(found.images) == len(found.labels) == 2 - left_out


def test_nothing_but_blank_pictures_is_an_error(tmp_path):
    packed(tmp_path / "kkanji.tar", {"U+4E00/00.png": png(np.zeros((64, 64), np.uint8))})
    with pytest.raises(ValueError, match="every picture in .*kkanji.tar is blank"):
        kanji.load(tmp_path)


def test_a_folder_without_a_picture_is_an_error(tmp_path):
    packed(tmp_path / "kkanji2", {"a/b.txt": b"text"})
    with pytest.raises(DatasetNotFoundError, match="kkanji2 holds none"):
        load("kkanji", root=tmp_path)


def test_the_set_is_fetched_once(serve, tmp_path, monkeypatch, capsys):  # noqa: F811
    archive = packed(tmp_path / "served.tar", contents()).read_bytes()
    server, root = serve(content=archive, breaks=[10_000, 5_000]), tmp_path / "data"
    monkeypatch.setattr(kanji, "SOURCES", (server.url,))
    check(kanji.load(root, download=True))
    assert len(server.asked) == 3  # a transfer that breaks off begins again
    assert [p.name for p in root.iterdir()] == ["kkanji.tar"]
    assert (root / "kkanji.tar").read_bytes() == archive
    assert capsys.readouterr().out == WHOLE
    load_uint8("kkanji", root=root, download=True)
    assert len(server.asked) == 3


def test_when_no_source_answers_each_is_named(serve, tmp_path, monkeypatch):  # noqa: F811
    servers = serve(status=500), serve(status=404)
    monkeypatch.setattr(kanji, "SOURCES", [server.url for server in servers])
    with pytest.raises(DatasetNotFoundError, match="download failed") as caught:
        load("kkanji", root=tmp_path, download=True)
    assert all(server.url in str(caught.value) for server in servers)


@pytest.mark.slow
def test_the_real_part_of_the_set(capsys):
    path = data_root() / "kkanji-64.zip"
    if not path.is_file():
        pytest.skip(f"there is no {path}: DDIM_DATA may name another folder")
    found = kanji.load()
    assert found.images.shape == (52_076, 1, 64, 64)
    assert "blank" not in capsys.readouterr().out
    assert found.labels.bincount().max() == 40 and found.labels.bincount().min() >= 1
    assert len(found.characters) == found.labels.max() + 1 == 3_831
    # White ink on black, and the middle has most of it.
    means = found.images.float().mean(dim=(0, 1))
    assert 20 < means.mean() < 120 and means[24:40, 24:40].mean() > 1.5 * means[:4].mean()
    # One picture against Pillow alone.
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in sorted(archive.namelist()) if "U+5B57" in n)
        alone = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L"))
    first = (found.labels == found.characters.index("字")).nonzero()[0]
    assert np.array_equal(found.images[first][0, 0].numpy(), alone)
