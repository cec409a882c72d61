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
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from course.grader.gradescope import export
from course.grader.intake import naming, reading

LARGEST = 100_000_000  # bytes of a file that is read at all, and of all that a student's zip holds
MOST_IN_ZIP = 200
PASSED_OVER = {"__MACOSX", ".ipynb_checkpoints", "__pycache__", ".DS_Store", "Thumbs.db",
               "desktop.ini", ".git", ".virtual_documents", ".Trashes", ".localized", ".directory"}
EMPTY = "the folder is empty"
MOODLE = re.compile(r"(?P<student>.+?_\d+)_assignsubmission_(?:file|onlinetext)(?:_.*)?")
CANVAS = re.compile(r"(?P<name>[^\W_]+?)(?P<late>_LATE)?_(?P<id>\d+)_\d+_.+")
VERSION = re.compile(r"(?:\s*\((\d+)\)|-(\d+))$")
COPY = re.compile(r"\s*\(\d+\)$")


@dataclass
class File:
    """One file of a student: its path below the submissions; its bytes, or why there are none.

    A notebook's path ends with .ipynb, whatever was behind it; `note` says so.
    """

    path: PurePosixPath
    data: bytes = b""
    fault: str = ""
    time: float = 0
    note: str = ""

    @classmethod
    def none(cls, folder: PurePosixPath, fault: str) -> "File":
        """What stands for the files of a folder, or of a zip, where there are none."""
        return cls(folder / "nothing.ipynb", fault=fault)

    @property
    def reason(self) -> str:
        """Its fault with its name, where it is a file."""
        name = self.path.name
        return self.fault if name == "nothing.ipynb" else f"{name}: {self.fault}"

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
        else:
            self.others.append(file.path.name)

    def settle(self) -> None:
        """Put the files in order; an empty folder tells something only where there is no file."""
        files = [file for file in self.notebooks if file.fault != EMPTY]
        if files or self.others:
            self.notebooks = files
        self.notebooks.sort(key=lambda file: file.order)
        self.others.sort()


def collect(place: Path, assignments: list[str],
            without: Callable[[Path], bool] = lambda path: False) -> list[Student]:
    """The students whose work lies in `place`, a folder or a zip file, by name.

    `without` tells what in the folder is nobody's work.
    """
    every = list(files(place, without))
    students: dict[str, Student] = {}
    every = gradescope(every, students)
    paths = unwrapped([file.path for file in every], assignments)
    shared = of_several(paths, assignments)
    for file, path in zip(every, paths, strict=True):
        name = student_of(path, assignments)
        if path.parts[0] in shared:
            name = inner(path, assignments) or name
            if name == path.parts[0] and file.fault == EMPTY:
                continue
        name = naming.shown(name)
        students.setdefault(name, Student(name)).add(file)
    for student in students.values():
        student.settle()
    return sorted(students.values(), key=lambda student: student.name)


def gradescope(every: list[File], students: dict[str, Student]) -> list[File]:
    """Give the folders that Gradescope's metadata name to their students; returns the other files.

    A group is one student here, called after all of them. Raises ValueError if the metadata cannot
    be read, since without them nobody's name is known. A student may have a file of this name: it
    counts only where all notebooks lie beside or below such files.
    """
    owner: dict[PurePosixPath, str] = {}
    found = [file for file in every if file.path.name == export.NAME and not file.fault]
    places = {file.path.parent for file in found}
    found = [file for file in found if not places & set(file.path.parent.parents)]
    work = [file for file in every if file.fault or file.path.suffix.lower() == ".ipynb"]
    if not all(places & set(file.path.parents) for file in work):
        return every
    for metadata in found:
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
    student.settle()
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


def files(place: Path, without: Callable[[Path], bool] = lambda path: False) -> Iterator[File]:
    if place.is_file():
        if not zipfile.is_zipfile(place):
            raise ValueError(f"the submissions must be a folder or a zip file: {place.name}")
        yield from in_zip(place.read_bytes(), PurePosixPath(), place.stat().st_mtime)
        return
    waiting = [(place, PurePosixPath())]
    while waiting:
        folder, inside = waiting.pop()
        try:
            paths = sorted(path for path in folder.iterdir() if not passed_over(path.name))
        except FileNotFoundError:
            continue
        except OSError as error:
            if folder == place:
                raise ValueError(f"{place} cannot be read: {error.strerror}") from None
            yield File.none(inside, f"the folder {inside.name} cannot be read: {error.strerror}")
            continue
        if not paths and inside.parts:
            yield File.none(inside, EMPTY)
        for path in paths:
            if without(path):
                continue
            there = inside / naming.path(path.name)
            try:
                status = path.lstat()
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((path, there))
                elif stat.S_ISREG(status.st_mode):
                    yield from opened(path, there, status)
                else:  # nothing says that a pipe ever ends
                    link = stat.S_ISLNK(status.st_mode)
                    yield without_data(there, "a link, not a file" if link else "no plain file")
            except OSError as error:
                yield without_data(there, f"the file cannot be read: {error.strerror}")


def without_data(path: PurePosixPath, fault: str) -> File:
    """What might be a folder keeps all of its name: no ending is cut from it."""
    file = len(path.parts) > 1
    return File(path, fault=fault) if file else File.none(without_ending(path), fault)


def passed_over(*names: str) -> bool:
    return any(name in PASSED_OVER or name.startswith(("._", "~$")) for name in names)


def opened(path: Path, inside: PurePosixPath, status) -> Iterator[File]:
    if status.st_size > LARGEST:
        yield File(inside, fault=f"the file is larger than {LARGEST // 10**6} MB")
        return
    data = path.read_bytes()
    if is_zip(inside, data):
        yield from in_zip(data, without_ending(inside), status.st_mtime)
    else:
        yield told(File(inside, data, time=status.st_mtime))


def is_zip(path: PurePosixPath, data: bytes) -> bool:
    """Whether it is one by its name, or a notebook by its name and a zip by what it holds."""
    ending = path.suffix.lower()
    return ending == ".zip" or ending == ".ipynb" and data.startswith(b"PK\x03\x04")


def without_ending(path: PurePosixPath) -> PurePosixPath:
    return path.with_name(naming.stem(path.name))


def told(file: File) -> File:
    """The file under a notebook's name if it holds one: browsers put .json or .txt behind it."""
    name = file.path.name
    if file.path.suffix.lower() != ".ipynb" and reading.is_notebook(file.data):
        stem = re.split(r"\.ipynb", name, maxsplit=1, flags=re.IGNORECASE)[0]
        stem = stem if stem != name else file.path.stem
        file.path, file.note = file.path.with_name(f"{stem or '_'}.ipynb"), f"it was called {name}"
    return file


def in_zip(data: bytes, inside: PurePosixPath, time: float, depth: int = 0,
           room: list[int] | None = None) -> Iterator[File]:
    """The notebooks in a zip, read without unpacking: no path in it leads anywhere.

    `room` has the bytes that all zips of one student may still unpack; None is for the whole class.
    """
    if room is None and depth + len(inside.parts) > 0:
        room = [LARGEST]
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = [(member, naming.path(said(member))) for member in archive.infolist()]
    except (zipfile.BadZipFile, ValueError, OSError):
        yield File.none(inside, "the zip file is broken")
        return
    members = [(m, path) for m, path in members if path.parts and not passed_over(*path.parts)]
    folders = {path for member, path in members if said(member).endswith(("/", "\\"))}
    parts = [(member, path) for member, path in members if path not in folders]
    if len(parts) > MOST_IN_ZIP and room:
        yield File.none(inside, f"the zip file holds more than {MOST_IN_ZIP} files")
        return
    if not members and inside.parts:
        yield File.none(inside, "the zip file is empty")
    filled = {above for path in [*folders, *(path for _, path in parts)] for above in path.parents}
    for folder in sorted(folders - filled):
        yield File.none(inside / folder, EMPTY)
    for member, path in parts:
        known = path.suffix.lower() in {".ipynb", ".zip"} or path.name == export.NAME
        try:
            wanted = known or reading.may_be_notebook(archive.open(member).read(reading.HEAD))
        except Exception:  # a zip can be broken, or locked, in many ways
            wanted = False
        if wanted and member.file_size > min([LARGEST, *(room or [])]):
            yield File(inside / path, fault=f"larger than {LARGEST // 10**6} MB when unpacked")
            continue
        try:
            content = archive.read(member) if wanted else b""
        except Exception as error:
            yield File(inside / path, fault=f"cannot be unpacked: {error}")
            continue
        if room:
            room[0] -= len(content)
        if is_zip(path, content) and depth < 2:
            yield from in_zip(content, inside / without_ending(path), time, depth + 1, room)
        else:
            yield told(File(inside / path, content, time=dated(member) or time))


def said(member: zipfile.ZipInfo) -> str:
    """A member's name; macOS writes UTF-8 without the flag that says so."""
    name = member.filename
    if not member.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return name


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
