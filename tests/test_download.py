"""A download arrives whole or not at all, and what broke off continues."""

import hashlib
import json
import random
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ddim_lib import download as module
from ddim_lib.download import ChecksumError, DownloadError, download, verify

CONTENT = random.Random(0).randbytes(200_000)
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(len(CONTENT))


class Server:
    """One file over HTTP, and ways to fail. ``asked`` notes each request's Range."""

    def __init__(self, content=CONTENT, ranges=True, breaks=(), status=None, tag='"v1"',
                 kind="application/octet-stream", length=True):
        self.content, self.ranges, self.breaks, self.status = content, ranges, list(breaks), status
        self.tag, self.kind, self.length = tag, kind, length
        self.asked = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                server.answer(self)

            def log_message(self, *_):
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.httpd.server_port}/file.bin"

    def answer(self, request):
        if request.path.startswith("/moved"):
            request.send_response(302)
            request.send_header("Location", request.path.removeprefix("/moved"))
            request.end_headers()
            return
        self.asked.append(request.headers["Range"])
        if self.status:
            request.send_error(self.status)
            return
        body, start = self.content, 0
        same = request.headers["If-Range"] in (None, self.tag)
        if self.ranges and request.headers["Range"] and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", request.headers["Range"])[1])
            if start >= len(body):
                request.send_error(416)
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        body = body[start:]
        request.send_header("Content-Type", self.kind)
        if self.tag:
            request.send_header("ETag", self.tag)
        if self.length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:self.breaks.pop(0) if self.breaks else None])

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()


@pytest.fixture
def serve():
    servers = []

    def start(**options):
        servers.append(Server(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "TIMEOUT", 5)
    monkeypatch.setattr(module, "CHUNK", 10_000)


@pytest.fixture
def goal(tmp_path):
    return tmp_path / "deep" / "file.bin"


def names(goal):
    return sorted(p.name for p in goal.parent.iterdir())


@pytest.mark.parametrize("known", [{}, {"md5": MD5}, {"sha256": SHA256.upper()},
                                   {"md5": MD5, "sha256": SHA256, "size": len(CONTENT)}])
@pytest.mark.parametrize("length", [True, False])
def test_a_file_arrives_whole_and_alone(known, length, serve, goal):
    server = serve(length=length)
    assert download([server.url], goal, **known) == goal
    assert goal.read_bytes() == CONTENT and names(goal) == ["file.bin"]
    assert server.asked == [None]


def test_what_is_there_is_not_fetched_again(serve, goal):
    server = serve()
    for _ in range(3):
        download([server.url], goal, md5=MD5)
    assert len(server.asked) == 1


@pytest.mark.parametrize("known, message", [
    ({"md5": MD5}, f"file.bin has the md5 .*, expected {MD5}: it is damaged or another file"),
    ({"sha256": SHA256}, f"file.bin has the sha256 .*, expected {SHA256}"),
    ({"size": 200_000}, "file.bin has 7 bytes, expected 200,000: it is damaged"),
])
def test_another_file_there_is_an_error_and_stays(known, message, serve, goal):
    server = serve()
    goal.parent.mkdir()
    goal.write_bytes(b"my work")
    with pytest.raises(ChecksumError, match=message):
        download([server.url], goal, **known)
    assert goal.read_bytes() == b"my work" and server.asked == []
    assert names(goal) == ["file.bin"]


# Broken off --------------------------------------------------------------------------------------

def test_one_call_asks_again_for_the_rest(serve, goal):
    server = serve(breaks=[70_000, 50_000])
    download([server.url], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=70000-", "bytes=120000-"]


def test_a_redirection_is_followed_with_the_range(serve, goal):
    """The public hosts send their visitors on to a storage server."""
    server = serve(breaks=[70_000])
    download([server.url.replace("/file", "/moved/file")], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT and server.asked == [None, "bytes=70000-"]


@pytest.mark.parametrize("known", [{"md5": MD5}, {}], ids=["checksum", "tag"])
def test_a_later_call_asks_for_the_rest(known, serve, goal):
    """With a checksum, and without one where the server says that its file is the same."""
    server = serve(breaks=[50_000, 0])
    with pytest.raises(DownloadError, match="broke off after 50,000 of 200,000 bytes") as caught:
        download([server.url], goal, **known)
    assert "The 50,000 bytes that came are kept in" in str(caught.value)
    assert not goal.exists()
    assert goal.with_name("file.bin.part").read_bytes() == CONTENT[:50_000]
    download([server.url], goal, **known)
    assert goal.read_bytes() == CONTENT and names(goal) == ["file.bin"]
    assert server.asked[-1] == "bytes=50000-"


def test_another_source_gives_the_rest_where_a_checksum_will_judge(serve, goal):
    first, second = serve(breaks=[60_000, 0]), serve()
    download([first.url, second.url], goal, sha256=SHA256)
    assert goal.read_bytes() == CONTENT and second.asked == ["bytes=60000-"]


def test_without_a_checksum_sources_are_not_mixed(serve, goal):
    first, second = serve(breaks=[60_000, 0]), serve(content=OTHER)
    download([first.url, second.url], goal)
    assert goal.read_bytes() == OTHER and second.asked == [None]


def test_without_a_checksum_a_changed_file_begins_again(serve, goal):
    server = serve(breaks=[60_000, 0])
    with pytest.raises(DownloadError):
        download([server.url], goal)
    server.content, server.tag = OTHER, '"v2"'
    download([server.url], goal)
    assert goal.read_bytes() == OTHER


def test_without_a_checksum_or_a_tag_nothing_is_continued(serve, goal):
    server = serve(breaks=[60_000, 0], tag=None)
    with pytest.raises(DownloadError):
        download([server.url], goal)
    download([server.url], goal)
    assert goal.read_bytes() == CONTENT and server.asked[-1] is None


def test_a_server_without_ranges_sends_all_again(serve, goal):
    server = serve(ranges=False, breaks=[60_000])
    download([server.url], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT and server.asked == [None, "bytes=60000-"]


def test_a_server_that_always_breaks_off_is_left_in_the_end(serve, goal):
    server = serve(breaks=[10] * 50)
    with pytest.raises(DownloadError, match="broke off after 50 of"):
        download([server.url], goal, md5=MD5)
    assert len(server.asked) == module.TRIES == 5


def test_a_whole_part_needs_no_network(serve, goal):
    goal.parent.mkdir()
    goal.with_name("file.bin.part").write_bytes(CONTENT)
    download(["http://127.0.0.1:9/file.bin"], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT and names(goal) == ["file.bin"]


@pytest.mark.parametrize("rubbish", [OTHER[:60_000], OTHER, OTHER + b"more"])
def test_a_wrong_part_is_replaced(rubbish, serve, goal):
    """Too short it spoils the checksum; as long as the file or longer, nothing is left to ask."""
    goal.parent.mkdir()
    goal.with_name("file.bin.part").write_bytes(rubbish)
    server = serve()
    download([server.url], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT and names(goal) == ["file.bin"]
    assert server.asked == [f"bytes={len(rubbish)}-", None]


def test_an_answer_from_elsewhere_in_the_file_is_refused(serve, goal, monkeypatch):
    goal.parent.mkdir()
    part = goal.with_name("file.bin.part")
    part.write_bytes(CONTENT[:50_000])
    server = serve()

    def shifted(request):
        request.send_response(206)
        request.send_header("Content-Range", "bytes 40000-199999/200000")
        request.end_headers()
        request.wfile.write(CONTENT[40_000:])

    monkeypatch.setattr(server, "answer", shifted)
    with pytest.raises(DownloadError, match="asked for the bytes from 50,000 on, it sent "
                                            "'bytes 40000-199999/200000'"):
        download([server.url], goal, md5=MD5)
    assert part.read_bytes() == CONTENT[:50_000]


# Wrong ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("known", [{"md5": MD5}, {"sha256": SHA256}])
def test_a_wrong_checksum_never_gets_the_name(known, serve, goal):
    server = serve(content=OTHER)
    with pytest.raises(DownloadError, match="sent another file: has the (md5|sha256)"):
        download([server.url], goal, **known)
    assert not goal.exists() and names(goal) == [] and len(server.asked) == 1


def test_the_second_source_mends_a_wrong_first(serve, goal):
    first, second = serve(content=OTHER), serve()
    download([first.url, second.url], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT and second.asked == [None]


@pytest.mark.parametrize("options, reason", [
    ({"content": CONTENT[:99]}, "offers 99 bytes, expected 200,000"),
    ({"kind": "text/html", "content": b"<h1>Log in</h1>"}, "sent a web page in place of the file"),
])
def test_a_foreign_answer_costs_nothing_that_was_fetched(options, reason, serve, goal):
    goal.parent.mkdir()
    goal.with_name("file.bin.part").write_bytes(CONTENT[:50_000])
    bad, good = serve(ranges=False, **options), serve()
    with pytest.raises(DownloadError, match=reason):
        download([bad.url], goal, md5=MD5, size=len(CONTENT))
    download([bad.url, good.url], goal, md5=MD5, size=len(CONTENT))
    assert goal.read_bytes() == CONTENT and good.asked == ["bytes=50000-"]


def test_a_missing_first_source_is_passed_over(serve, goal):
    first, second = serve(status=404), serve()
    download([first.url, second.url], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT
    assert first.asked == [None] and second.asked == [None]


def test_every_source_and_its_reason_is_named(serve, goal):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}/file.bin"
    sources = [serve(status=404).url, serve(status=503).url, serve(content=OTHER).url, closed]
    with pytest.raises(DownloadError) as caught:
        download(sources, goal, md5=MD5)
    lines = str(caught.value).splitlines()
    assert lines[0] == "file.bin could not be fetched:"
    reasons = ["HTTP 404 Not Found", "HTTP 503 Service Unavailable", "sent another file",
               "no connection: .*refused"]
    for line, url, reason in zip(lines[1:], sources, reasons, strict=True):
        assert re.match(rf"  {re.escape(url)}: {reason}", line), line
    assert names(goal) == []


def test_a_full_disk_is_not_called_a_failed_source(serve, goal, monkeypatch):
    import builtins

    real = builtins.open

    def full(path, mode="r", *rest, **options):
        file = real(path, mode, *rest, **options)
        if str(path).endswith(".part") and full.armed and mode == "ab":
            raise OSError(28, "No space left on device")
        full.armed = True
        return file

    full.armed = False  # the first opening only locks
    monkeypatch.setattr(builtins, "open", full)
    with pytest.raises(OSError, match="No space left") as caught:
        download([serve().url], goal, md5=MD5)
    assert not isinstance(caught.value, DownloadError)


def test_two_processes_do_not_write_one_part(serve, goal):
    fcntl = pytest.importorskip("fcntl", reason="this system has no file locks")
    goal.parent.mkdir()
    server = serve()
    with open(goal.with_name("file.bin.part"), "ab") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # even one that only reads
        with pytest.raises(DownloadError, match="another process is fetching .*file.bin.part"):
            download([server.url], goal, md5=MD5)
    assert server.asked == []
    assert download([server.url], goal, md5=MD5).read_bytes() == CONTENT


@pytest.mark.parametrize("arguments, message", [
    ({"urls": "http://x/y"}, "urls must be a sequence of addresses, got the one string 'http://x"),
    ({"urls": []}, "urls must name at least one source, got none"),
    ({"urls": ["file:///etc/passwd"]}, "every url must begin with https:// or http://, got 'file"),
    ({"md5": "abc"}, "md5 must have 32 hexadecimal digits, got 'abc'"),
    ({"sha256": MD5}, "sha256 must have 64 hexadecimal digits"),
    ({"size": 0}, "size must be at least 1 byte, got 0"),
])
def test_bad_arguments_are_errors(arguments, message, goal):
    with pytest.raises(ValueError, match=message):
        download(**{"urls": ["http://127.0.0.1:9/x"], "path": goal, **arguments})
    assert not goal.parent.exists()


def test_verify_reads_the_file(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    verify(path, md5=MD5, sha256=SHA256, size=len(CONTENT))
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(ChecksumError, match="has the md5"):
        verify(path, md5=MD5, size=len(CONTENT))
    with pytest.raises(ChecksumError, match="path must be a file"):
        verify(tmp_path, md5=MD5)


def test_the_origin_of_a_part_is_noted_only_without_a_checksum(serve, goal):
    server = serve(breaks=[60_000, 0])
    with pytest.raises(DownloadError):
        download([server.url], goal)
    stored = json.loads(goal.with_name("file.bin.part.json").read_text())
    assert stored == {"url": server.url, "validator": '"v1"'}
