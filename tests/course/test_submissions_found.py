"""Whose notebook is which, in the layouts that learning platforms export."""

import os

import pytest

from course.grader.intake import intake
from proofs.odd_submissions import archive as packed

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
    "noise__2024-123.ipynb": "2024-123",
    "noise__ada@uni.edu.ipynb": "ada@uni.edu",
    "alice_noise-1.ipynb": "alice",
    "alice_noise (2).ipynb": "alice",
    "unnamed.ipynb": "unnamed",
    "2024-123.ipynb": "2024-123",
}


def laid(folder, members: dict[str, bytes]):
    """The folder, with these files in it."""
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def found(place) -> dict[str, list[bytes]]:
    return {s.name: [f.data for f in s.notebooks] for s in intake.collect(place, NAMES)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_tells_the_student(tmp_path, layout):
    assert found(laid(tmp_path, {layout: b"{}"})) == {LAYOUTS[layout]: [b"{}"]}


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
        laid(tmp_path, {f"alice/{name}": data})
        os.utime(tmp_path / "alice" / name, (1e9 - age, 1e9 - age))
    assert found(tmp_path) == {"alice": [b"first", b"second", b"third"]}


# Every file is another student's; the second column is what the totals call them.
SEVERAL = {
    "numbers": {"noise__2024-1.ipynb": "2024-1", "noise__2024-2.ipynb": "2024-2"},
    "downloads without names": {
        "noise.ipynb": "noise", "noise (1).ipynb": "noise (1)", "noise-2.ipynb": "noise-2",
    },
    "a folder around files": {"inbox/noise__a.ipynb": "a", "inbox/b_noise.ipynb": "b"},
    "a folder around folders": {
        "inbox/alice/noise.ipynb": "alice", "inbox/bob/noise/noise.ipynb": "bob",
    },
    "two folders around a platform's export": {
        "x/y/lovelaceada_1_2_noise.ipynb": "lovelaceada_1",
        "x/y/hopper_3_4_noise.ipynb": "hopper_3",
    },
    "groups": {
        "monday/noise__a.ipynb": "a", "monday/noise__b.ipynb": "b", "c/noise.ipynb": "c",
        "friday/Ada L_1_assignsubmission_file_/noise.ipynb": "Ada L_1",
        "friday/Ada L_2_assignsubmission_file_/noise.ipynb": "Ada L_2",
    },
}
# And these are one student's, whatever the files are called.
ONE = {
    "nbgrader's folders": ["ann/noise/noise.ipynb", "ann/one_step_back/one_step_back.ipynb"],
    "a draft": ["ann/noise__ann.ipynb", "ann/scratch.ipynb", "ann/notes.txt"],
    "drafts": ["ann/noise__ann.ipynb", "ann/my_noise.ipynb", "bob/noise.ipynb"],
    "in folders": ["ann/mine/noise__ann.ipynb", "ann/noise.ipynb"],
}


@pytest.mark.parametrize("name", SEVERAL)
def test_no_student_is_lost_in_another(tmp_path, name):
    data = {path: student.encode() for path, student in SEVERAL[name].items()}
    (tmp_path / "whole.zip").write_bytes(packed(data))
    expected = {student: [student.encode()] for student in SEVERAL[name].values()}
    assert found(laid(tmp_path / "in", data)) == expected
    assert found(tmp_path / "whole.zip") == expected


def test_a_zip_of_a_group_may_lie_among_files(tmp_path):
    members = {"noise__a.ipynb": b"a", "noise__b.ipynb": b"b"}
    (tmp_path / "submissions.zip").write_bytes(packed(members))
    (tmp_path / "noise__c.ipynb").write_bytes(b"c")
    assert found(tmp_path) == {"a": [b"a"], "b": [b"b"], "c": [b"c"]}


@pytest.mark.parametrize("name", ONE)
def test_a_students_own_folder_stays_one_student(tmp_path, name):
    laid(tmp_path, dict.fromkeys(ONE[name], b""))
    assert set(found(tmp_path)) == {path.split("/")[0] for path in ONE[name]}


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


METADATA = """---
submission_501:
  :submitters:
  - :name: Ada Lovelace
    :sid: '100'
    :email: ada@example.org
  :created_at: 2026-03-01 10:00:00.000000000 Z
  :score: 0.0
submission_502:
  :submitters:
  - :name: Bob Li
    :sid: '200'
    :email: bob@example.org
  - :name: Cleo Li
    :sid: '201'
submission_503:
  :submitters:
  - :name: Dan Ray
    :sid:
    :email: dan@example.org
submission_504:
  :submitters:
  - :name: Dan Ray
    :sid: 400
submission_505:
  :submitters:
  - :name: Eve
"""
EXPORT = {
    "submission_501/noise.ipynb": b"1", "submission_502/mine/noise__bob.ipynb": b"2",
    "submission_502/mine/noise__cleo.ipynb": b"3", "submission_503/noise.ipynb": b"4",
    "submission_504/x.zip": packed({"noise.ipynb": b"5"}), "submission_505/essay.pdf": b"",
    "submission_999/noise.ipynb": b"6",
}
OWNERS = {
    "Ada Lovelace": [b"1"], "Bob Li, Cleo Li": [b"2", b"3"], "Dan Ray dan@example.org": [b"4"],
    "Dan Ray 400": [b"5"], "Eve": [], "submission_999": [b"6"],
}


@pytest.mark.parametrize("around", ["", "assignment_9100_export/"])
@pytest.mark.parametrize("zipped", [False, True])
def test_gradescopes_metadata_name_the_students(tmp_path, around, zipped):
    members = {f"{around}{path}": data for path, data in EXPORT.items()}
    members[f"{around}submission_metadata.yml"] = METADATA.encode()
    place = tmp_path / "export.zip"
    if zipped:
        place.write_bytes(packed(members))
    else:
        place = laid(tmp_path / "export", members)
    assert found(place) == OWNERS


@pytest.mark.parametrize("data", [b"a: [", b"- 1", b"submission_1: {}", b"a: !ruby/object:X {}",
                                  b"submission_1: {':submitters': [x]}"])
def test_metadata_of_another_form_are_an_error(tmp_path, data):
    (tmp_path / "submission_metadata.yml").write_bytes(data)
    with pytest.raises(ValueError, match="submission_metadata.yml is not as Gradescope writes it"):
        intake.collect(tmp_path, NAMES)
