"""Kuzushiji-Kanji comes out of its archive whole, in order and without the blank pictures."""

import hashlib
import io
import os
import re
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from test_download import Server

from ddim_lib.datasets import DatasetNotFoundError, kanji, load, load_uint8
from ddim_lib.storage.folders import data_root

# By name, U+2000B comes first; by code point it is the last.
CODES = [0x2000B, 0x4E00, 0x5B57, 0xFA5C]
WHOLE = "kkanji: 11 images of 4 characters from kkanji.tar; blank and left out: 2\n"


def brush(seed):
    """Something like a character: white strokes of random places on black."""
    random = np.random.default_rng(seed)
    array = np.zeros((64, 64), np.uint8)
    for _ in range(4):
        y, x = random.integers(4, 50, 2)
        array[y:y + 3, x:x + 12] = random.integers(120, 256)
        array[y:y + 12, x:x + 3] = 255
    return array


def encoded(array, kind="png", **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def pictures(kind="png"):
    """name below kkanji2 -> (code point or None where it is blank, pixels)."""
    made, seed = {}, 0
    for code, n in zip(CODES, (1, 4, 3, 3), strict=True):
        for _ in range(n):
            name = f"U+{code:04X}/{hashlib.md5(bytes([seed])).hexdigest()[:16]}.{kind}"
            made[name] = code, brush(seed)
            seed += 1
    made[f"U+5B57/0123456789abcdef.{kind}"] = None, np.zeros((64, 64), np.uint8)
    made[f"U+4E00/fedcba9876543210.{kind}"] = None, np.full((64, 64), 7, np.uint8)
    return made


def contents(kind="png"):
    options = {"lossless": True} if kind == "webp" else {}
    return {name: encoded(array, kind, **options) for name, (_, array) in pictures(kind).items()}


JUNK = {"._U+5B57": b"mac", "U+5B57/._0123456789abcdef.png": b"mac", "U+5B57/.DS_Store": b"mac",
        "README.txt": b"text", "cover.png": b"no character"}


def write_tar(path, files, top="kkanji2/", mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for folder in sorted({top, *(top + name.split("/")[0] for name in files if "/" in name)}):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for name in sorted(files, key=lambda n: hashlib.md5(n.encode()).hexdigest()):
            info = tarfile.TarInfo(top + name)
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    return path


def write_zip(path, files, top="kkanji2/"):
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files, key=lambda n: hashlib.md5(n.encode()).hexdigest()):
            archive.writestr(top + name, files[name])
    return path


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Neither the user's data nor the user's cache, and a set as small as the stand-in's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kanji, "FILES", 13)
    monkeypatch.setattr(kanji, "CHARACTERS", 4)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def expected():
    inked = {(code, name): array for name, (code, array) in pictures().items() if code}
    order = sorted(inked)
    return (np.stack([inked[key] for key in order])[:, None],
            [CODES_SORTED.index(code) for code, _ in order])


CODES_SORTED = sorted(CODES)


def check(found):
    images, labels = expected()
    assert found.images.dtype == torch.uint8 and np.array_equal(found.images.numpy(), images)
    assert found.labels.dtype == torch.int64 and found.labels.tolist() == labels
    assert [ord(c) for c in found.characters] == CODES_SORTED
    assert found.facts["files"] == 13 and found.facts["images"] == 11
    assert found.facts["characters"] == 4 and len(found.facts["blank"]) == 2


# What is read ------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", ["tar", "nested tar", "./ tar", "zip", "webp zip", "kaggle zip",
                                  "folder", "nested folder"])
def test_every_form_of_the_set_gives_the_same(form, root, capsys):
    files = contents() | JUNK
    if form.endswith("tar"):
        top = {"tar": "kkanji2/", "nested tar": "old/kkanji2/", "./ tar": "./kkanji2/"}[form]
        place = write_tar(root / "kkanji.tar", files, top)
    elif form == "webp zip":
        place = write_zip(root / "kkanji-64.zip", contents("webp") | JUNK)
    elif form == "kaggle zip":
        other = {"k49-train-imgs.npz": b"arrays", "__MACOSX/U+4E00/x.png": b"mac"}
        place = write_zip(root / "kuzushiji.zip", files | other, "kkanji/kkanji2/")
    elif form == "zip":
        place = write_zip(root / "kkanji.zip", files)
    else:
        place = root / ("kkanji2" if form == "folder" else "kkanji")
        write_folder(place / "" if form == "folder" else place / "kkanji2", files)
    before = sorted(root.rglob("*"))
    found = kanji.load(root)
    check(found)
    assert found.facts["complete"] and found.facts["source"] == place.name
    blank = [re.sub(r".*U\+", "U+", name).split(".")[0] for name in found.facts["blank"]]
    assert blank == ["U+4E00/fedcba9876543210", "U+5B57/0123456789abcdef"]
    assert capsys.readouterr().out == WHOLE.replace("kkanji.tar", place.name)
    assert sorted(root.rglob("*")) == before  # nothing is unpacked, nothing left behind


def test_it_has_a_name_among_the_data_sets(root, monkeypatch):
    write_tar(root / "kkanji.tar", contents())
    images, labels = expected()
    raw, its_labels = load_uint8("kkanji", root=root)
    assert np.array_equal(raw.numpy(), images) and its_labels.tolist() == labels
    monkeypatch.setenv("DDIM_DATA", str(root))
    floats, _ = load("kkanji")
    torch.testing.assert_close(floats, torch.from_numpy(images).float() / 127.5 - 1)
    with pytest.raises(ValueError, match="split must be train for the data set 'kkanji', got 'te"):
        load("kkanji", "test")


def test_a_part_of_the_set_says_so(root, capsys):
    files = {name: c for name, c in contents().items() if not name.startswith("U+4E00")}
    write_zip(root / "kkanji-64.zip", files)
    found = kanji.load(root)
    assert not found.facts["complete"] and found.facts["files"] == 8
    assert [ord(c) for c in found.characters] == [0x5B57, 0xFA5C, 0x2000B]
    assert capsys.readouterr().out == ("kkanji: 7 images of 3 characters from kkanji-64.zip, not "
                                       "the set of 13 files; blank and left out: 1\n")


def test_the_whole_set_goes_before_a_part(root):
    write_zip(root / "kkanji-64.zip", dict(list(contents().items())[:3]))
    assert kanji.load(root).facts["source"] == "kkanji-64.zip"
    write_tar(root / "kkanji.tar", contents())
    assert kanji.load(root).facts["source"] == "kkanji.tar"


@pytest.mark.parametrize("contrast, left_out", [(0, True), (15, True), (16, False), (255, False)])
def test_blank_is_less_than_16_levels_of_contrast(contrast, left_out, root):
    picture = np.full((64, 64), 255 - contrast, np.uint8)
    picture[10, 10] = 255
    write_tar(root / "kkanji.tar", {"U+4E00/00.png": encoded(brush(1)),
                                    "U+5B57/01.png": encoded(picture)})
    found = kanji.load(root)
    assert found.facts["blank"] == (["kkanji2/U+5B57/01.png"] if left_out else [])
    assert found.characters == (["一"] if left_out else ["一", "字"])
    assert len(found.images) == 2 - left_out


def test_nothing_but_blank_pictures_is_an_error(root):
    write_tar(root / "kkanji.tar", {"U+4E00/00.png": encoded(np.zeros((64, 64), np.uint8))})
    with pytest.raises(ValueError, match="every picture in .*kkanji.tar is blank"):
        kanji.load(root)


def test_names_that_lead_out_of_the_archive_write_nothing(root, tmp_path):
    write_tar(root / "kkanji.tar", {"U+4E00/00.png": encoded(brush(1))}, "../../kkanji2/")
    before = sorted(tmp_path.rglob("*"))
    assert len(kanji.load(root).images) == 1
    new = {p.name.split("-")[0] for p in set(tmp_path.rglob("*")) - set(before)}
    assert new == {"cache", "ddim_lib", "decoded", "kkanji"}


# What is damaged ---------------------------------------------------------------------------------

def test_pictures_that_cannot_be_read_are_named(root):
    files = contents()
    first, second = sorted(files)[2], sorted(files)[5]
    files[first] = files[first][:60]
    files[second] = b"no picture"
    write_tar(root / "kkanji.tar", files)
    with pytest.raises(ValueError, match="cannot read 2 of 13 pictures") as caught:
        kanji.load(root)
    assert first in str(caught.value) and second in str(caught.value)
    assert str(root / "kkanji.tar") in str(caught.value)
    with pytest.raises(ValueError):  # and no cache was written of the rest
        kanji.load(root)


def headers(path):
    with tarfile.open(path) as archive:
        return [member.offset for member in archive.getmembers()]


@pytest.mark.parametrize("kind", ["in a picture", "between two", "in a header", "end", "damaged"])
def test_an_archive_that_is_cut_is_not_taken_for_a_small_one(kind, root):
    path = write_tar(root / "kkanji.tar", contents())
    content, at = bytearray(path.read_bytes()), headers(path)[10]
    if kind == "damaged":
        content[at:at + 256] = b"x" * 256
    else:
        end = headers(path)[-1] + 512 + 512  # the last picture is smaller than a block
        cut = {"in a picture": at + 600, "between two": at, "in a header": at + 100, "end": end}
        del content[cut[kind]:]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="kkanji.tar cannot be read to its end"):
        kanji.load(root)


def test_a_zip_that_is_cut_is_an_error(root):
    path = write_zip(root / "kkanji.zip", contents())
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="kkanji.zip cannot be read to its end"):
        kanji.load(root)


def test_a_missing_set_says_where_and_how(root):
    with pytest.raises(DatasetNotFoundError) as caught:
        load("kkanji", root=root)
    for part in ("data set 'kkanji'", str(root), "download=True", "DDIM_DATA", "kkanji-64.zip"):
        assert part in str(caught.value)
    write_folder(root / "kkanji2", {"a/b.txt": b"text"})
    with pytest.raises(DatasetNotFoundError, match="kkanji2 holds none"):
        load("kkanji", root=root)


# The cache ---------------------------------------------------------------------------------------

def forbid(monkeypatch):
    def decoded(*_, **__):
        raise AssertionError("decoded a second time")
    monkeypatch.setattr(kanji, "read", decoded)


def caches(tmp_path):
    return sorted((tmp_path / "cache" / "ddim_lib" / "decoded").iterdir())


def test_what_was_decoded_once_comes_from_the_cache(root, tmp_path, monkeypatch, capsys):
    write_tar(root / "kkanji.tar", contents())
    first = kanji.load(root)
    forbid(monkeypatch)
    again = kanji.load(root)
    check(again)
    assert again.facts == first.facts
    assert capsys.readouterr().out == 2 * WHOLE  # the same words, decoded or not
    assert [ord(c) for c in kanji.characters(root)] == CODES_SORTED
    assert kanji.facts(str(root)) == first.facts
    assert capsys.readouterr().out == ""
    assert [p.suffix for p in caches(tmp_path)] == [".safetensors"]


def test_characters_and_facts_need_no_load_before(root, monkeypatch):
    write_tar(root / "kkanji.tar", contents())
    monkeypatch.setenv("DDIM_DATA", str(root))
    assert [ord(c) for c in kanji.characters()] == CODES_SORTED
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])
    assert kanji.facts()["images"] == 11


def test_two_data_folders_do_not_share_a_cache(root, tmp_path):
    write_tar(root / "kkanji.tar", contents())
    kanji.load(root)
    write_tar(tmp_path / "other" / "kkanji.tar", {"U+4E00/00.png": encoded(brush(1))})
    assert len(kanji.load(tmp_path / "other").images) == 1
    check(kanji.load(root))
    assert len(caches(tmp_path)) == 2


@pytest.mark.parametrize("change", ["archive", "folder", "reader", "cut cache", "strange cache"])
def test_the_cache_is_made_anew_when_something_changed(change, root, tmp_path, monkeypatch):
    folder = change == "folder"
    if folder:
        write_folder(root / "kkanji2", contents())
    else:
        write_tar(root / "kkanji.tar", contents())
    kanji.load(root)
    cache, = caches(tmp_path)
    calls, real = [], kanji.read
    monkeypatch.setattr(kanji, "read", lambda *a, **k: (calls.append(1), real(*a, **k))[1])
    kanji.load(root)
    assert not calls
    if change == "archive":
        files = contents() | {"U+4E00/00.png": encoded(brush(99))}
        write_tar(root / "kkanji.tar", files)
    elif folder:
        name = next(n for n, (code, _) in pictures().items() if code)
        (root / "kkanji2" / name).write_bytes(encoded(brush(99)))
    elif change == "reader":
        monkeypatch.setattr(kanji, "READER", "0")
    else:
        whole = cache.read_bytes()
        cache.write_bytes(whole[:-100] if change == "cut cache" else b"something else")
    found = kanji.load(root)
    assert calls == [1]
    if change in ("archive", "folder"):
        assert (found.images == torch.from_numpy(brush(99))).flatten(1).all(1).sum() == 1
    else:
        check(found)
    kanji.load(root)
    assert calls == [1] and len(caches(tmp_path)) == 1


def test_without_a_place_for_the_cache_it_still_loads_and_says_so(root, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file where the folder should be")
    write_tar(root / "kkanji.tar", contents())
    check(kanji.load(root))
    out = capsys.readouterr().out
    assert "the decoded images could not be kept in" in out and out.endswith(WHOLE)


def test_a_cache_that_cannot_be_finished_leaves_nothing(root, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError("No space left on device")

    write_tar(root / "kkanji.tar", contents())
    monkeypatch.setattr(kanji.os, "fsync", full)
    check(kanji.load(root))
    assert "No space left on device" in capsys.readouterr().out
    assert caches(tmp_path) == []


# The download ------------------------------------------------------------------------------------

@pytest.fixture
def serve():
    servers = []

    def start(content, **options):
        servers.append(Server(content, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def archive(tmp_path):
    return write_tar(tmp_path / "served.tar", contents() | JUNK).read_bytes()


def sources(monkeypatch, first, second=()):
    monkeypatch.setattr(kanji, "SOURCES", tuple(s.url for s in first))
    monkeypatch.setattr(kanji, "SECOND", tuple(s.url for s in second))


def test_a_download_that_breaks_begins_again_and_is_written_down(serve, archive, root, monkeypatch,
                                                                 capsys):
    server = serve(archive, breaks=[10_000, 5_000])
    sources(monkeypatch, [server])
    digest = hashlib.sha256(archive).hexdigest()
    monkeypatch.setattr(kanji, "RECORDED_SHA256", digest)
    check(kanji.load(root, download=True))
    assert len(server.asked) == 3
    assert (root / "kkanji.tar").read_bytes() == archive
    assert (root / "kkanji.tar.sha256").read_text() == f"{digest}  kkanji.tar\n"
    assert sorted(p.name for p in root.iterdir()) == ["kkanji.tar", "kkanji.tar.sha256"]
    assert capsys.readouterr().out == WHOLE
    load_uint8("kkanji", root=root, download=True)
    assert len(server.asked) == 3  # what is there is not fetched again


def test_another_checksum_than_the_recorded_one_is_said(serve, archive, root, monkeypatch, capsys):
    sources(monkeypatch, [serve(archive)])
    check(kanji.load(root, download=True))
    out = capsys.readouterr().out
    assert hashlib.sha256(archive).hexdigest() in out and kanji.RECORDED_SHA256 in out


def test_the_second_source_is_asked_when_the_first_is_down(serve, archive, root, monkeypatch):
    down, fine = serve(archive, status=503), serve(archive)
    sources(monkeypatch, [down, fine])
    check(kanji.load(root, download=True))
    assert len(down.asked) == 1 and len(fine.asked) == 1


def test_the_zip_is_fetched_where_no_source_has_the_tar(serve, tmp_path, root, monkeypatch,
                                                        capsys):
    path = write_zip(tmp_path / "served.zip", contents() | {"k49.npz": b"x"}, "kkanji/kkanji2/")
    sources(monkeypatch, [serve(b"", status=404)], [serve(path.read_bytes())])
    found = kanji.load(root, download=True)
    check(found)
    assert found.facts["source"] == "kuzushiji.zip"
    assert sorted(p.name for p in root.iterdir()) == ["kuzushiji.zip", "kuzushiji.zip.sha256"]
    out = capsys.readouterr().out
    assert "HTTP 404" in out and "trying the second source" in out


def test_when_no_source_answers_each_is_named(serve, root, monkeypatch):
    one, two = serve(b"", status=500), serve(b"", status=404)
    sources(monkeypatch, [one], [two])
    with pytest.raises(DatasetNotFoundError, match="download failed") as caught:
        load("kkanji", root=root, download=True)
    assert one.url in str(caught.value) and two.url in str(caught.value)


@pytest.mark.parametrize("kind", ["few", "cut"])
def test_a_download_of_something_else_is_put_aside(kind, serve, archive, tmp_path, root,
                                                   monkeypatch):
    if kind == "few":
        few = dict(list(contents().items())[:5])
        archive = write_tar(tmp_path / "few.tar", few).read_bytes()
    else:
        archive = archive[:20_000]
    sources(monkeypatch, [serve(archive)])
    message = {"few": "it holds 5 pictures of 2 characters", "cut": "read to its end"}[kind]
    with pytest.raises(DatasetNotFoundError, match=f"13 pictures of 4 characters: .*{message}"):
        kanji.load(root, download=True)
    assert [p.name for p in root.iterdir()] == ["kkanji.tar.unexpected"]
    assert (root / "kkanji.tar.unexpected").read_bytes() == archive


def test_damage_after_the_download_is_noticed(serve, archive, root, monkeypatch):
    sources(monkeypatch, [serve(archive)])
    kanji.load(root, download=True)
    content = bytearray((root / "kkanji.tar").read_bytes())
    with tarfile.open(root / "kkanji.tar") as tar:
        junk = next(m for m in tar.getmembers() if m.name.endswith("README.txt"))
    content[junk.offset_data] ^= 1  # no picture shows it
    (root / "kkanji.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"has the sha256 .* \(what it was when it was fetched: "
                                         r"kkanji.tar.sha256\)"):
        kanji.load(root)


def test_the_published_addresses_and_numbers():
    assert kanji.SOURCES[-1] == "http://codh.rois.ac.jp/kmnist/dataset/kkanji/kkanji.tar"
    assert all(url.endswith("/kmnist/dataset/kkanji/kkanji.tar") for url in kanji.SOURCES)
    assert re.fullmatch("[0-9a-f]{64}", kanji.RECORDED_SHA256)


# The real thing ----------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("DDIM_DATA"), reason="DDIM_DATA names no folder with "
                    "kkanji-64.zip")
def test_the_real_part_of_the_set(root, monkeypatch):
    path = data_root() / "kkanji-64.zip"
    if not path.is_file():
        pytest.skip("the folder that DDIM_DATA names holds no kkanji-64.zip")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    (root / path.name).symlink_to(path.absolute())
    found = kanji.load(root)
    n = found.facts["files"]
    assert n == len(found.images) == 52_076 and not found.facts["complete"]
    assert found.facts["blank"] == []
    assert found.images.shape[1:] == (1, 64, 64)
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
