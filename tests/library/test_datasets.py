"""One call gives pictures in [-1, 1], whatever the set; a missing set says how to get it."""

import hashlib
import io
import pickle
import random
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddim_lib import datasets
from ddim_lib.cli.evaluate import real_digits
from ddim_lib.datasets import DatasetNotFoundError, kanji, load, load_folder, load_uint8, pictures
from ddim_lib.pixels import to_float, to_uint8
from ddim_lib.storage.folders import data_root
from ddim_lib.weights import load_pretrained

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


def test_what_lies_outside_is_clipped_not_wrapped():
    values = torch.tensor([-5.0, -1.01, 1.01, 3.0, float("inf"), -float("inf")])
    assert to_uint8(values).tolist() == [0, 0, 255, 255, 255, 0]


def test_the_wrong_type_is_an_error():
    with pytest.raises(TypeError, match="images must be a uint8 tensor, got torch.float32"):
        to_float(torch.zeros(1))
    with pytest.raises(TypeError, match="must be a floating-point tensor .*, got torch.uint8"):
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


@pytest.mark.parametrize("arguments, message", [
    (("emnist",), "name must be one of digits, mnist, fashion-mnist, cifar10, kkanji, anime-faces, "
                 "got 'emnist' .*"),
    (("mnist", "valid"), "split must be train or test, got 'valid'"),
    (("digits", "test"), "split must be train for the embedded digits, got 'test'"),
    (("kkanji", "test"), "split must be train for the data set 'kkanji', got 'test'"),
    (("anime-faces", "test"), "split must be train for the data set 'anime-faces', got 'test'"),
])
def test_unknown_names_and_splits_are_errors(arguments, message):
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


@pytest.mark.parametrize("name, download, parts", [
    *((name, False, [f"data set '{name}' (train)", "download=True"]) for name in (
        "mnist", "fashion-mnist", "cifar10")),
    ("kkanji", False, ["data set 'kkanji'", "download=True", "zip or tar"]),
    *(("anime-faces", download, ["no automatic download", "artists", "load_folder",
                                 "a folder, zip or tar whose name begins with anime-faces"])
      for download in (False, True))])
def test_a_missing_set_says_where_and_how(name, download, parts, tmp_path):
    with pytest.raises(DatasetNotFoundError) as caught:
        load(name, root=tmp_path / "data", download=download)
    for part in (*parts, str(tmp_path / "data"), "DDIM_DATA"):
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


@pytest.mark.parametrize("folder", ["~nosuchuser/x", "~/x", None])
def test_without_a_home_folder_the_embedded_digits_are_read_and_all_else_is_one_error(
        folder, monkeypatch):
    import pwd

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("DDIM_DATA", raising=False)
    if folder:
        monkeypatch.setenv("DDIM_DATA", folder)

    def nobody(*_):  # as in a container whose user has no name
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    named = f"no home folder for {folder or '~/.cache/ddim_lib/data'}: .* DDIM_DATA name"
    for fetch in (lambda: load("mnist"), lambda: load("kkanji"), kanji.load,
                  lambda: load_pretrained("cifar10")):
        with pytest.raises(FileNotFoundError, match=named):
            fetch()
    if folder != "~/x":  # reading them takes a while
        assert "embedded digits" in real_digits(10)[1]


def test_the_real_mnist():
    if not (data_root() / "MNIST").is_dir():
        pytest.skip(f"{data_root()} holds no MNIST: DDIM_DATA may name another folder")
    for split, n, ones in (("train", 60_000, 6742), ("test", 10_000, 1135)):
        images, labels = load_uint8("mnist", split)
        assert images.shape == (n, 1, 28, 28)
        assert labels.bincount()[1] == ones


# A folder of pictures ----------------------------------------------------------------------------

def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def packed(path, files):
    """A folder, zip or tar. files: name -> bytes, in an order that is not that of the names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items = sorted(files.items())
    random.Random(1).shuffle(items)
    if not path.suffix:
        for name, content in items:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in items:
                archive.writestr(name, content)
    else:
        mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
        with tarfile.open(path, mode[path.suffix]) as archive:
            for name, content in items:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def png(array, kind="png"):
    """A picture's file: of another kind where one is named, WebP without loss."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, lossless=True)
    return file.getvalue()


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


@pytest.mark.parametrize("bad", [b"no picture", b"", png(numbers(40, 40, 3))[:1500]],
                         ids=["text", "empty", "cut"])
@pytest.mark.parametrize("place", ["x", "x.zip", "x.tar"])
def test_a_picture_that_cannot_be_read_is_named(place, bad, tmp_path, capsys):
    path = packed(tmp_path / place, {"a/1.png": png(numbers(8, 8)), "a/deep/2.png": bad})
    with pytest.raises(ValueError, match=f"the picture .*{place}.a.deep.2.png: .*skip_broken"):
        load_folder(path, 8)
    assert len(load_folder(path, 8, skip_broken=True)) == 1
    assert "1 of 2 pictures left out" in capsys.readouterr().out


@pytest.mark.parametrize("content, why", [
    (b"", "it is empty"), (b"\0" * 500, "it is no PNG, JPEG, WEBP, BMP, GIF or TIFF"),
    (b"version https://git-lfs.github.com/spec/v1\n", "it is no PNG, JPEG"),
    (b"<!doctype html><title>404</title>", "it is no PNG"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is no PNG"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is no PNG")],
    ids=["empty", "zeros", "git-lfs", "html", "svg", "eps"])
def test_what_is_no_picture_is_said_to_be_none(content, why, tmp_path):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match=f"x.png: {why}") as error:
        load_folder(tmp_path, 8)
    assert "BytesIO" not in str(error.value)


def test_broken_pictures_are_left_out_where_that_is_asked(tmp_path, capsys):
    good = [numbers(8, 8, 3, seed=i) for i in range(2)]
    broken = {f"m{i}.png": b"no picture" for i in range(6)}
    packed(tmp_path, {"a.png": png(good[0]), "z.png": png(good[1])} | broken)
    found = load_folder(tmp_path, 8, skip_broken=True)
    assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), np.stack(good))
    out = capsys.readouterr().out
    assert out.startswith("6 of 8 pictures left out because they cannot be read: m0.png: ")
    assert "m4.png: " in out and "m5.png" not in out and out.endswith("; ..\n")
    with pytest.raises(ValueError, match="cannot read 6 of 8 pictures, .*m0.png: .*m4.png: "):
        load_folder(tmp_path, 8)
    for name in ("a.png", "z.png"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="cannot read 6 of 6 pictures"):
        load_folder(tmp_path, 8, skip_broken=True)


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path, monkeypatch):
    picture(tmp_path / "a.png", numbers(8, 8))
    monkeypatch.setattr(pictures, "LARGEST", 50)
    with pytest.raises(ValueError, match="a.png: its file has .* bytes, at most 50 may be"):
        load_folder(tmp_path, 8)


def test_folders_without_pictures_are_errors(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="there is no .*nowhere"):
        load_folder(tmp_path / "nowhere", 8)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DatasetNotFoundError, match=r"must hold pictures \(.png, .*holds none"):
        load_folder(tmp_path, 8)
    with pytest.raises(ValueError, match=r"folder must be a folder, .zip or .tar .*notes.txt"):
        load_folder(tmp_path / "notes.txt", 8)


@pytest.mark.parametrize("given, message", [
    ({"resolution": 0}, "resolution must be a whole number of at least 1, got 0"),
    ({"limit": 0}, "limit must be a whole number of at least 1, got 0"),
    *(({"channels": n}, f"channels must be 1 or 3, got {n}") for n in (0, 2, 4))])
def test_sizes_and_channels_that_cannot_be_are_errors(given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_folder(tmp_path, **({"resolution": 8} | given))


# Own pictures: any mode --------------------------------------------------------------------------

def image_of(tmp_path, picture, name="x.png", channels=3, **options):
    picture.save(tmp_path / name, **options)
    return load_folder(tmp_path, picture.width, channels)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey_is_scaled_not_clipped(name, channels, tmp_path):
    values = np.array([[0, 128, 129, 256], [257, 1000, 20_000, 32_767],
                       [32_768, 40_000, 60_000, 65_000], [65_278, 65_407, 65_534, 65_535]])
    found = image_of(tmp_path, Image.fromarray(values.astype(np.uint16)), name, channels)
    assert found.shape == (4, 4, channels)
    assert np.array_equal(found[..., 0], np.rint(values / 257))
    assert found.min() == 0 and found.max() == 255


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bit_pixels_without_a_white_are_an_error(mode, tmp_path):
    Image.new(mode, (4, 4), 300).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match="x.tif: its pixels are 32-bit numbers"):
        load_folder(tmp_path, 4)


def half_transparent(mode):
    """Left: opaque dark red (or grey 40); right: the same, wholly transparent."""
    picture = Image.new("RGBA", (8, 8), (120, 10, 10, 255))
    picture.paste((120, 10, 10, 0), (4, 0, 8, 8))
    if mode == "LA":
        return Image.merge("LA", (Image.new("L", (8, 8), 40), picture.getchannel("A")))
    if mode == "P":
        indexed = Image.new("P", (8, 8), 0)
        indexed.putpalette([120, 10, 10, 120, 10, 10])
        indexed.paste(1, (4, 0, 8, 8))
        indexed.info["transparency"] = 1
        return indexed
    return picture


@pytest.mark.parametrize("mode, name", [
    *((mode, name) for mode in ("RGBA", "LA", "P") for name in ("x.png", "x.webp")),
    ("P", "x.gif")])
def test_transparency_is_laid_on_white(mode, name, tmp_path):
    options = {"lossless": True, "exact": True} if name == "x.webp" else {}
    found = image_of(tmp_path, half_transparent(mode), name, **options)
    assert (found[:, 4:] == 255).all()
    assert (found[:, :4] == ([40] * 3 if mode == "LA" else [120, 10, 10])).all()
    grey = image_of(tmp_path, half_transparent(mode), name, channels=1, **options)
    assert (grey[:, 4:] == 255).all() and (grey[:, :4] < 60).all()


def test_half_transparency_is_mixed_with_white(tmp_path):
    found = image_of(tmp_path, Image.new("RGBA", (4, 4), (0, 100, 200, 51)))
    assert np.abs(found[0, 0].astype(int) - [204, 224, 244]).max() <= 1


def test_a_transparent_grey_level_is_transparent(tmp_path):
    array = np.array([[7, 200], [200, 7]], np.uint8)
    found = image_of(tmp_path, Image.fromarray(array), transparency=7)
    assert found[..., 0].tolist() == [[255, 200], [200, 255]]


def test_palettes_bits_and_cmyk_are_colours(tmp_path):
    indexed = Image.new("P", (4, 4), 1)
    indexed.putpalette([0, 0, 0, 10, 200, 30])
    assert (image_of(tmp_path, indexed) == [10, 200, 30]).all()
    bits = Image.fromarray(np.eye(4, dtype=np.uint8) * 255).convert("1")
    assert np.array_equal(image_of(tmp_path, bits, channels=1)[..., 0], np.eye(4) * 255)
    (tmp_path / "x.png").unlink()
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta and yellow: red
    found = image_of(tmp_path, ink, "x.jpg", quality=100)
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 12
    assert (image_of(tmp_path, ink, "x.jpg", channels=1, quality=100) < 100).all()


@pytest.mark.parametrize("orientation, turned", [
    (1, lambda a: a), (3, lambda a: np.rot90(a, 2)), (6, lambda a: np.rot90(a, -1)),
    (8, lambda a: np.rot90(a, 1)), (2, np.fliplr), (4, np.flipud)])
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp"])
def test_exif_orientation_is_followed(name, orientation, turned, tmp_path):
    array = np.zeros((16, 16), np.uint8)
    array[:8, :8], array[:8, 8:] = 255, 120  # upper left white, upper right grey
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "x.webp" else {"quality": 100}
    found = image_of(tmp_path, Image.fromarray(array).convert("RGB"), name, 1, exif=exif,
                     **options)[..., 0]
    assert np.abs(found.astype(int) - turned(array)).max() <= 3


@pytest.mark.parametrize("name", ["x.gif", "x.webp", "x.png"])
def test_an_animation_gives_its_first_frame(name, tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    options = {"lossless": True} if name == "x.webp" else {}
    found = image_of(tmp_path, frames[0], name, save_all=True, append_images=frames[1:],
                     duration=100, **options)
    assert found.shape == (8, 8, 3) and (found == [200, 0, 0]).all()


def test_hidden_files_and_upper_case_endings(tmp_path):
    for name in ("A.PNG", "b.JpEg", "deep/c.TIFF"):
        picture(tmp_path / name, numbers(8, 8, 3))
    packed(tmp_path, dict.fromkeys(
        ["._A.PNG", ".thumbs/x.png", "__MACOSX/x.png", "deep/._c.tiff"], b"no picture"))
    (tmp_path / "folder.png").mkdir()
    assert load_folder(tmp_path, 8).shape == (3, 3, 8, 8)
    # But a hidden folder may be asked for by name.
    picture(tmp_path / ".mine" / "x.png", numbers(8, 8, 3))
    assert load_folder(tmp_path / ".mine", 8).shape == (1, 3, 8, 8)


def test_what_was_resized_is_said(tmp_path, capsys):
    for i, size in enumerate([(8, 8), (8, 8), (8, 9), (16, 16), (4, 4)]):
        picture(tmp_path / f"{i}.png", numbers(*size))
    load_folder(tmp_path, 8)
    assert capsys.readouterr().out == ("3 of 5 pictures were not 8x8: cropped to their middle "
                                       "square and resized\n")
    load_folder(tmp_path, 8, limit=3)
    assert capsys.readouterr().out == ("1 of 3 pictures was not 8x8: cropped to its middle "
                                       "square and resized\n")
    load_folder(tmp_path, 8, limit=2)
    assert capsys.readouterr().out == ""


# Archives of pictures ----------------------------------------------------------------------------

@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "ZIP"])
def test_an_archive_is_read_like_the_folder_in_it(ending, tmp_path):
    files = {f"top/{i % 3}/{i:02d}.png": png(numbers(6, 6, 3, seed=i)) for i in range(20)}
    packed(tmp_path / "folder", files)
    junk = {"top/._00.png": b"mac", "__MACOSX/top/00.png": b"mac", "list.txt": b"text"}
    path = packed(tmp_path / f"x.{ending.lower()}", files | junk)
    path = path.rename(tmp_path / f"x.{ending}")
    expected = load_folder(tmp_path / "folder", 6)
    before = sorted(tmp_path.rglob("*"))
    assert torch.equal(load_folder(path, 6), expected)
    assert torch.equal(load_folder(str(path), 6, limit=7), expected[:7])
    assert sorted(tmp_path.rglob("*")) == before
    for i, name in enumerate(sorted(files)):
        assert files[name] == png(expected[i].permute(1, 2, 0).numpy())


def test_names_with_backslashes_are_paths(tmp_path):
    """Some programs on Windows write zips so; a hidden file is hidden there too."""
    path = packed(tmp_path / "x.zip", {"top\\b.png": png(numbers(6, 6, seed=1)),
                                       "top\\._b.png": b"mac",
                                       "top\\a\\c.png": png(numbers(6, 6, seed=2))})
    _, names = pictures.read(path, 6)
    assert names == ["top/a/c.png", "top/b.png"]


def test_a_damaged_or_locked_member_of_a_zip_is_named(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored: the bytes of the picture are there
        archive.writestr("1.png", png(numbers(6, 6)))
        archive.writestr("2.png", png(numbers(6, 6)))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"IDAT", b"IDAX", 1))
    with pytest.raises(ValueError, match="x.zip.1.png: Bad CRC"):
        load_folder(path, 6)
    locked = bytearray(content)
    at = content.rindex(b"PK\x01\x02")
    locked[at + 8] |= 1  # the directory's flag for encryption
    locked[content.rindex(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(locked)
    with pytest.raises(ValueError, match="x.zip.2.png: .*encrypted"):
        load_folder(path, 6)


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_an_archive_that_is_cut_or_none_is_an_error(ending, tmp_path):
    path = packed(tmp_path / f"x.{ending}", {f"{i}.png": png(numbers(30, 30)) for i in range(9)})
    for content in (path.read_bytes()[:-path.stat().st_size // 2], b"no archive at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"archive .*x.{ending} cannot be read to its end"):
            load_folder(path, 30)


@pytest.mark.parametrize("where", ["in a picture", "between two", "in a header", "end", "damaged"])
def test_a_tar_that_is_cut_is_not_taken_for_a_small_one(where, tmp_path):
    path = packed(tmp_path / "x.tar", {f"{i}.png": png(numbers(30, 30)) for i in range(9)})
    with tarfile.open(path) as archive:
        at, end = archive.getmembers()[5].offset, archive.offset
    content = bytearray(path.read_bytes())
    if where == "damaged":
        content[at:at + 256] = b"x" * 256
    else:
        del content[{"in a picture": at + 600, "between two": at, "in a header": at + 100,
                     "end": end}[where]:]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="archive .*x.tar cannot be read to its end"):
        load_folder(path, 30)


def test_of_two_members_with_one_name_the_later_counts(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for value in (10, 200):
            content = png(np.full((4, 4), value, np.uint8))
            info = tarfile.TarInfo("x.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    found = load_folder(path, 4, 1)
    assert found.shape == (1, 1, 4, 4) and (found == 200).all()


# Sets in the data folder by their names ----------------------------------------------------------

@pytest.mark.parametrize("place", ["anime-faces-64.zip", "anime-faces.tar", "anime-faces"])
def test_faces_are_found_in_the_data_folder(place, tmp_path, monkeypatch):
    files = {f"faces/{i:05d}.png": numbers(64, 64, 3, seed=i) for i in range(5)}
    packed(tmp_path / place, {name: png(array) for name, array in files.items()})
    (tmp_path / "anime-faces.txt").write_text("neither folder nor archive")
    monkeypatch.setenv("DDIM_DATA", str(tmp_path))
    images, labels = load_uint8("anime-faces")
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), np.stack(list(files.values())))
    assert labels.dtype == torch.int64 and labels.tolist() == [0] * 5


@pytest.mark.parametrize("name", ["anime-faces", "kkanji", "cifar10"])
def test_a_set_that_is_there_twice_is_an_error(name, tmp_path):
    packed(tmp_path / f"{name}-64.zip", {"x.png": png(numbers(8, 8))})
    packed(tmp_path / name, {"x.png": png(numbers(8, 8))})
    with pytest.raises(ValueError, match=f"must hold the data set '{name}' once, it holds {name}, "
                                         f"{name}-64.zip: take all but one of them away"):
        load(name, root=tmp_path)


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def copy_of_cifar10(root, classes=CLASSES, place="cifar10-jpg.zip", ending="jpg"):
    files = {f"train/{c}/{i:04d}.{ending}": numbers(32, 32, 3, seed=i)
             for c in classes for i in range(2)}
    packed(root / place, {n: png(a) for n, a in files.items()} |
           {"test/cat/0000.jpg": png(numbers(32, 32, 3)), "train/loose.jpg": b"no picture"})
    return files


@pytest.mark.parametrize("place, ending, said", [
    ("cifar10-jpg.zip", "jpg", ": JPEG, a lossy copy"), ("cifar10", "png", "")])
def test_cifar10s_copy_is_used_and_said_to_be_one(place, ending, said, tmp_path, capsys,
                                                  monkeypatch):
    files = copy_of_cifar10(tmp_path, CLASSES, place, ending)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torchvision", None)  # it needs none
        images, labels = load_uint8("cifar10", root=tmp_path)
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(),
                          np.stack([files[name] for name in sorted(files)]))
    assert labels.tolist() == [i // 2 for i in range(20)] and labels.dtype == torch.int64
    assert capsys.readouterr().out == (f"cifar10: 20 images from {place}, not the set of "
                                       f"50,000{said}\n")
    with pytest.raises(DatasetNotFoundError, match=r"data set 'cifar10' \(test\)"):
        load_uint8("cifar10", "test", root=tmp_path)


def test_torchvisions_cifar10_goes_before_the_copy(tmp_path, monkeypatch, capsys):
    copy_of_cifar10(tmp_path)
    expected, _ = write_cifar10(tmp_path, monkeypatch)["train"]
    assert np.array_equal(load_uint8("cifar10", root=tmp_path)[0].numpy(), expected)
    assert capsys.readouterr().out == ""


def test_a_copy_with_other_classes_is_an_error(tmp_path):
    copy_of_cifar10(tmp_path, CLASSES[:9])
    with pytest.raises(ValueError, match="for ten classes, it has .'airplane'"):
        load_uint8("cifar10", root=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name, n, side", [("anime-faces", 33_431, 64), ("cifar10", 50_000, 32)])
def test_the_real_zips(name, n, side, capsys):
    path = data_root() / {"anime-faces": "anime-faces-64.zip", "cifar10": "cifar10-jpg.zip"}[name]
    if not path.is_file():
        pytest.skip(f"there is no {path}: DDIM_DATA may name another folder")
    images, labels = load_uint8(name)
    assert images.shape == (n, 3, side, side)
    assert labels.bincount().tolist() == ([5000] * 10 if name == "cifar10" else [n])
    assert "not" not in capsys.readouterr().out  # none was resized, none is missing
    assert 80 < images[::50].float().mean() < 200  # photographs and drawings, neither inverted nor
    assert images[::50].float().std() > 40         # scaled


def test_every_name_is_documented():
    for name in datasets.NAMES:
        assert f'"{name}"' in datasets.load.__doc__
