"""Whose notebook is which, in the layouts that learning platforms export."""

import io
import os
import zipfile

import pytest
from grading import intake

NAMES = ["noise", "one_step_back"]
LAYOUTS = {
    "alice/noise.ipynb": "alice",
    "alice/noise/noise.ipynb": "alice",
    "alice_noise.ipynb": "alice",
    "noise__12345.ipynb": "12345",
    "noise__ann-lee (1).ipynb": "ann-lee",
    "ann_lee_one_step_back.ipynb": "ann_lee",
    "Ada Lovelace_123_assignsubmission_file_/noise.ipynb": "Ada Lovelace_123",
    "Ada Lovelace_123_assignsubmission_file_noise.ipynb": "Ada Lovelace_123",
    "lovelaceada_123_456_noise.ipynb": "lovelaceada_123",
    "lovelaceada_LATE_123_456_noise-1.ipynb": "lovelaceada_123",
    "unnamed.ipynb": "unnamed",
}


def packed(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def found(place) -> dict[str, list[bytes]]:
    return {s.name: [f.data for f in s.notebooks] for s in intake.collect(place, NAMES)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_tells_the_student(tmp_path, layout):
    path = tmp_path / layout
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    assert found(tmp_path) == {LAYOUTS[layout]: [b"{}"]}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_zip_of_the_whole_is_read_like_the_folder(tmp_path, layout):
    path = tmp_path / "export.zip"
    path.write_bytes(packed({layout: b"{}", "__MACOSX/x": b"", "a/.DS_Store": b""}))
    assert found(path)[LAYOUTS[layout]] == [b"{}"]


def test_a_students_own_zip_is_read_where_it_lies(tmp_path):
    (tmp_path / "alice.zip").write_bytes(packed({"work/noise.ipynb": b"1"}))
    (tmp_path / "bob_7_assignsubmission_file_x.zip").write_bytes(packed({"noise.ipynb": b"2"}))
    (tmp_path / "noise__cleo.zip").write_bytes(packed({"noise.ipynb": b"3"}))
    assert found(tmp_path) == {"alice": [b"1"], "bob_7": [b"2"], "cleo": [b"3"]}


def test_of_several_versions_the_latest_comes_last(tmp_path):
    for name, data, age in (
        ("noise-1.ipynb", b"second", 30), ("noise.ipynb", b"first", 10),
        ("noise (2).ipynb", b"third", 20), (".ipynb_checkpoints/noise.ipynb", b"no", 0),
    ):
        path = tmp_path / "alice" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1e9 - age, 1e9 - age))
    assert found(tmp_path) == {"alice": [b"first", b"second", b"third"]}


def test_no_path_in_a_zip_leads_out_of_it(tmp_path):
    place = tmp_path / "in" / "alice.zip"
    place.parent.mkdir()
    place.write_bytes(packed({"../../evil.ipynb": b"1", "/etc/evil.ipynb": b"2"}))
    assert sorted(found(place.parent)["alice"]) == [b"1", b"2"]
    assert not list(tmp_path.rglob("evil*"))


def test_what_cannot_be_read_has_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "LARGEST", 1000)
    (tmp_path / "bomb.zip").write_bytes(packed({"noise.ipynb": b"0" * 10_000}))
    (tmp_path / "large.ipynb").write_bytes(b"0" * 2000)
    said = {s.name: s.notebooks[0].fault for s in intake.collect(tmp_path, NAMES)}
    assert "when unpacked" in said["bomb"] and "larger than" in said["large"]


def test_a_zip_of_very_many_files_is_refused(tmp_path):
    many = {f"{i}.ipynb": b"" for i in range(intake.MOST_IN_ZIP + 1)}
    (tmp_path / "many.zip").write_bytes(packed(many))
    (student,) = intake.collect(tmp_path, NAMES)
    assert [file.fault for file in student.notebooks] == ["the zip file holds more than 200 files"]


def test_a_file_that_is_neither_folder_nor_zip_is_an_error(tmp_path):
    (tmp_path / "list.txt").write_text("x")
    with pytest.raises(ValueError, match="folder or a zip file: list.txt"):
        intake.collect(tmp_path / "list.txt", NAMES)
