"""Find the submissions in a folder or zip, in the layouts that learning platforms export.

    alice/noise.ipynb                              a folder a student (nbgrader: alice/noise/...)
    alice_noise.ipynb, noise__alice.ipynb          one file a student; the second is what pack makes
    Ada Lovelace_123_assignsubmission_file_/...    Moodle, with and without folders
    lovelaceada_LATE_123_456_noise-1.ipynb         Canvas
    submission_501/...                             Gradescope, whose submission_metadata.yml names
    alice.zip                                      any of these packed; also the whole folder

A folder around them all, and one whose files name several students, is no student.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from course.grader.gradescope import export

LARGEST = 100_000_000  # bytes of a file that is read at all
MOST_IN_ZIP = 200
PASSED_OVER = {"__MACOSX", ".ipynb_checkpoints", "__pycache__", ".DS_Store", "Thumbs.db"}
MOODLE = re.compile(r"(?P<student>.+?_\d+)_assignsubmission_(?:file|onlinetext)(?:_.*)?")
CANVAS = re.compile(r"(?P<name>[^\W_]+?)(?P<late>_LATE)?_(?P<id>\d+)_\d+_.+")
VERSION = re.compile(r"(?:\s*\((\d+)\)|-(\d+))$")
COPY = re.compile(r"\s*\(\d+\)$")


@dataclass
class File:
    """One file of a student: its path below the submissions; its bytes, or why there are none."""

    path: PurePosixPath
    data: bytes = b""
    fault: str = ""
    time: float = 0

    @property
    def order(self) -> tuple:
        """Later versions of a notebook sort later: noise.ipynb, noise-1.ipynb, noise (2).ipynb."""
        version = VERSION.search(self.path.stem)
        return (int(version[1] or version[2]) if version else 0, self.time, str(self.path))


@dataclass
class Student:
    name: str
    notebooks: list[File] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def add(self, file: File) -> None:
        if file.path.suffix.lower() == ".ipynb" or file.fault:
            self.notebooks.append(file)
        elif file.path.name:
            self.others.append(file.path.name)


def collect(place: Path, assignments: list[str]) -> list[Student]:
    """The students whose work lies in `place`, a folder or a zip file, by name."""
    every = list(files(place))
    students: dict[str, Student] = {}
    every = gradescope(every, students)
    paths = unwrapped([file.path for file in every], assignments)
    shared = of_several(paths, assignments)
    for file, path in zip(every, paths, strict=True):
        name = student_of(path, assignments)
        if path.parts[0] in shared:
            name = inner(path, assignments) or name
        students.setdefault(name, Student(name)).add(file)
    for student in students.values():
        student.notebooks.sort(key=lambda file: file.order)
    return sorted(students.values(), key=lambda student: student.name)


def gradescope(every: list[File], students: dict[str, Student]) -> list[File]:
    """Give the folders that Gradescope's metadata name to their students; returns the other files.

    A group is one student here, called after all of them. Raises ValueError if the metadata cannot
    be read, since without them nobody's name is known.
    """
    owner: dict[PurePosixPath, str] = {}
    for metadata in [file for file in every if file.path.name == export.NAME]:
        place = metadata.path.parent
        named = export.submitters(metadata.data, str(metadata.path))
        below = [f.path.relative_to(place).parts for f in every if f.path.is_relative_to(place)]
        named = {parts[0]: parts[0] for parts in below if len(parts) > 1} | named
        owner |= {place / folder: who for folder, who in named.items()}
    for who in owner.values():  # a folder may hold nothing
        students.setdefault(who, Student(who))
    others = []
    for file in every:
        folder = next((f for f in owner if f in file.path.parents), None)
        if folder is not None:
            students[owner[folder]].add(file)
        elif file.path.name != export.NAME:
            others.append(file)
    return others


def of_one(place: Path, name: str) -> Student:
    """All that lies in `place` as one student's, whatever the files and folders are called."""
    student = Student(name)
    for file in files(place):
        student.add(file)
    student.notebooks.sort(key=lambda file: file.order)
    return student


def unwrapped(paths: list[PurePosixPath], assignments: list[str]) -> list[PurePosixPath]:
    """The paths without a folder around them all, as in a zip of a folder: it is no student.

    It is one if what it holds are not several students' files or folders.
    """
    while len({path.parts[0] for path in paths}) == 1 and all(len(p.parts) > 1 for p in paths):
        if known(paths[0].parts[0], assignments):
            break
        below = [PurePosixPath(*path.parts[1:]) for path in paths]
        found = {
            student_of(path, assignments) for path in below
            if path.suffix.lower() == ".ipynb"
            and (len(path.parts) > 1 or known(path.stem, assignments))
        }
        if len(found - set(assignments)) < 2:
            break
        paths = below
    return paths


def of_several(paths: list[PurePosixPath], assignments: list[str]) -> set[str]:
    """The folders that are not a student's: names inside them tell several students."""
    found: dict[str, set] = {}
    for path in paths:
        name = inner(path, assignments)
        if name and path.suffix.lower() == ".ipynb" and not known(path.parts[0], assignments):
            found.setdefault(path.parts[0], set()).add(name)
    return {folder for folder, names in found.items() if len(names) > 1}


def inner(path: PurePosixPath, assignments: list[str]) -> str | None:
    """The student whom a name below the first folder tells, in a form that only a platform or
    the last cell makes: a student's own draft may well be called my_noise.ipynb."""
    names = [*path.parts[1:-1], path.stem] if len(path.parts) > 1 else []
    return next(filter(None, (certain(name, assignments) for name in names)), None)


def files(place: Path) -> Iterator[File]:
    if place.is_file():
        if not zipfile.is_zipfile(place):
            raise ValueError(f"the submissions must be a folder or a zip file: {place.name}")
        yield from in_zip(place.read_bytes(), PurePosixPath(), place.stat().st_mtime)
        return
    for path in sorted(place.rglob("*")):
        inside = PurePosixPath(path.relative_to(place).as_posix())
        if passed_over(inside):
            continue
        if path.is_symlink():
            yield File(inside, fault="a link, not a file")
        elif path.is_dir():
            if not any(path.iterdir()) and len(inside.parts) == 1:
                yield File(inside / "nothing.ipynb", fault="the folder is empty")
        elif path.is_file():
            yield from opened(path, inside)


def passed_over(path: PurePosixPath) -> bool:
    return any(part in PASSED_OVER or part.startswith("._") for part in path.parts)


def opened(path: Path, inside: PurePosixPath) -> Iterator[File]:
    status = path.stat()
    if status.st_size > LARGEST:
        yield File(inside, fault=f"the file is larger than {LARGEST // 10**6} MB")
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        yield File(inside, fault=f"the file cannot be read: {error.strerror}")
        return
    if inside.suffix.lower() == ".zip":
        yield from in_zip(data, inside.with_suffix(""), status.st_mtime)
    else:
        yield File(inside, data, time=status.st_mtime)


def in_zip(data: bytes, inside: PurePosixPath, time: float, depth: int = 0) -> Iterator[File]:
    """The notebooks in a zip, read without unpacking: no path in it leads anywhere."""
    place = inside if inside.parts else PurePosixPath("archive")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = [m for m in archive.infolist() if not m.is_dir()]
    except (zipfile.BadZipFile, ValueError, OSError):
        yield File(place.with_suffix(".zip"), fault="the zip file is broken")
        return
    parts = [(m, [p for p in m.filename.split("/") if p not in ("", ".", "..")]) for m in members]
    parts = [(m, PurePosixPath(*p)) for m, p in parts if p and not passed_over(PurePosixPath(*p))]
    if len(parts) > MOST_IN_ZIP and depth + len(inside.parts) > 0:
        yield File(place, fault=f"the zip file holds more than {MOST_IN_ZIP} files")
        return
    for member, path in parts:
        wanted = path.suffix.lower() in {".ipynb", ".zip"} or path.name == export.NAME
        if wanted and member.file_size > LARGEST:
            yield File(inside / path, fault=f"larger than {LARGEST // 10**6} MB when unpacked")
            continue
        try:
            content = archive.read(member) if wanted else b""
        except Exception as error:  # a zip can be broken, or locked, in many ways
            yield File(inside / path, fault=f"cannot be unpacked: {error}")
            continue
        if path.suffix.lower() == ".zip" and depth < 2:
            yield from in_zip(content, inside / path.with_suffix(""), time, depth + 1)
        else:
            yield File(inside / path, content, time=dated(member) or time)


def dated(member: zipfile.ZipInfo) -> float:
    try:
        return datetime(*member.date_time).timestamp()
    except (ValueError, OverflowError):
        return 0


def student_of(path: PurePosixPath, assignments: list[str]) -> str:
    """Whose file it is, by its folder or by its name."""
    name = path.parts[0] if len(path.parts) > 1 else path.stem
    return known(name, assignments) or name


def late(path: PurePosixPath) -> bool:
    """Whether Canvas says by the name of a file, or of a zip that held it, that it came late."""
    found = [CANVAS.fullmatch(name) for name in [*path.parts[:-1], path.stem]]
    return any(one and one["late"] for one in found)


def known(name: str, assignments: list[str]) -> str | None:
    """The student whom a folder's or file's name tells, if it has one of the known forms."""
    if found := certain(name, assignments):
        return found
    stem = VERSION.sub("", name)
    for assignment in sorted(assignments, key=len, reverse=True):
        if found := re.fullmatch(rf"(.+?)[ _-]+{re.escape(assignment)}", stem):
            return found[1]
    return None


def certain(name: str, assignments: list[str]) -> str | None:
    """The same for the forms that platforms and the last cell make."""
    if found := MOODLE.fullmatch(name):
        return found["student"]
    if found := CANVAS.fullmatch(name):
        return f"{found['name']}_{found['id']}"
    for assignment in sorted(assignments, key=len, reverse=True):
        if name.startswith(f"{assignment}__"):
            # Not "-1", which may end a student's number: 2024-1.
            return COPY.sub("", name.removeprefix(f"{assignment}__"))
    return None
