"""A download arrives whole or not at all."""

import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ddim_lib.storage import download as module
from ddim_lib.storage.download import ChecksumError, DownloadError, download, verify

CONTENT = random.Random(0).randbytes(200_000)
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(len(CONTENT))


class Server:
    """One file over HTTP, and ways to fail. ``asked`` notes each request's path."""

    def __init__(self, content=CONTENT, breaks=(), status=None, length=True, pause=0):
        self.content, self.breaks, self.status = content, list(breaks), status
        self.length, self.pause = length, pause
        self.asked = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
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
        self.asked.append(request.path)
        if self.status:
            request.send_error(self.status)
            return
        request.send_response(200)
        if self.length:
            request.send_header("Content-Length", str(len(self.content)))
        request.end_headers()
        request.wfile.write(self.content[:self.breaks.pop(0) if self.breaks else None])
        time.sleep(self.pause)

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
    assert server.asked == ["/file.bin"]


def test_what_is_there_is_not_fetched_again(serve, goal):
    server = serve()
    for _ in range(3):
        download([server.url], goal, md5=MD5)
    assert len(server.asked) == 1


@pytest.mark.skipif(os.name != "posix", reason="rights of files as on Linux")
def test_others_may_read_it_as_any_other_file(serve, goal):
    """A folder that a class shares is filled by one."""
    before = os.umask(0o022)
    try:
        download([serve().url], goal, md5=MD5)
    finally:
        os.umask(before)
    assert goal.stat().st_mode & 0o777 == 0o644


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


def test_without_pooch_the_error_says_what_to_install(serve, goal, monkeypatch):
    server = serve()
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'file.bin needs pooch: pip install "ddim-lib\[train\]"'):
        download([server.url], goal, md5=MD5)
    assert server.asked == [] and not goal.parent.exists()


# Broken off --------------------------------------------------------------------------------------

@pytest.mark.parametrize("known", [{"md5": MD5}, {}], ids=["checksum", "none"])
def test_a_transfer_that_breaks_off_begins_again(known, serve, goal):
    server = serve(breaks=[70_000, 50_000])
    download([server.url], goal, **known)
    assert goal.read_bytes() == CONTENT and names(goal) == ["file.bin"]
    assert len(server.asked) == 3


@pytest.mark.parametrize("known", [{"md5": MD5}, {}], ids=["checksum", "none"])
def test_a_source_that_always_breaks_off_is_left_and_nothing_stays(known, serve, goal):
    first, second = serve(breaks=[50_000] * 50), serve()
    with pytest.raises(DownloadError, match="it broke off: .*50000 bytes read, 150000 more"):
        download([first.url], goal, **known)
    assert len(first.asked) == module.TRIES == 3 and names(goal) == []
    download([first.url, second.url], goal, **known)
    assert goal.read_bytes() == CONTENT and len(second.asked) == 1


def test_a_source_that_falls_silent_is_left(serve, goal, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    first, second = serve(breaks=[50_000] * 50, pause=2), serve()
    download([first.url, second.url], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT and len(first.asked) == module.TRIES


def test_a_redirection_is_followed(serve, goal):
    """The public hosts send their visitors on to a storage server."""
    server = serve()
    download([server.url.replace("/file", "/moved/file")], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT and server.asked == ["/file.bin"]


@pytest.mark.skipif(sys.platform != "linux", reason="signals as on Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_a_download_that_is_stopped_leaves_nothing_under_the_name(number, serve, goal):
    """Ctrl-C leaves nothing at all; what a kill leaves goes with the next download."""
    server = serve(breaks=[150_000], pause=60)
    code = ("import signal, sys; from pathlib import Path\n"
            "from ddim_lib.storage import download as d\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "d.CHUNK = 10_000; d.download([sys.argv[1]], Path(sys.argv[2]), md5=sys.argv[3])")
    process = subprocess.Popen([sys.executable, "-c", code, server.url, str(goal), MD5],
                               stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not any(p.stat().st_size for p in goal.parent.glob(".*.tmp/*")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode and not goal.exists()
    assert len(names(goal)) == (number == signal.SIGKILL)
    assert ("KeyboardInterrupt" in told) == (number == signal.SIGINT)
    assert download([server.url], goal, md5=MD5).read_bytes() == CONTENT
    assert names(goal) == ["file.bin"]


# Wrong ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("known, what", [
    ({"md5": MD5}, f"has the md5 {hashlib.md5(OTHER).hexdigest()}, expected {MD5}"),
    ({"sha256": SHA256}, f"has the sha256 .*, expected {SHA256}"),
    ({"size": 199_999}, "has 200,000 bytes, expected 199,999"),
])
def test_a_wrong_checksum_never_gets_the_name(known, what, serve, goal, monkeypatch):
    server, renamed = serve(content=OTHER), []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda *a: (renamed.append(a), real(*a)))
    with pytest.raises(DownloadError, match=f"sent another file: it {what}"):
        download([server.url], goal, **known)
    assert names(goal) == [] and not renamed and len(server.asked) == 1


@pytest.mark.parametrize("fault", [{"content": OTHER}, {"status": 404}], ids=["wrong", "missing"])
def test_the_second_source_mends_the_first_and_the_third_is_not_asked(fault, serve, goal):
    first, second, third = serve(**fault), serve(), serve()
    download([first.url, second.url, third.url], goal, md5=MD5)
    assert goal.read_bytes() == CONTENT
    assert [len(s.asked) for s in (first, second, third)] == [1, 1, 0]


def test_every_source_and_its_reason_is_named(serve, goal):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}/file.bin"
    sources = [serve(status=404).url, serve(status=503).url, serve(content=OTHER).url, closed,
               "file:///etc/passwd"]
    with pytest.raises(DownloadError) as caught:
        download(sources, goal, md5=MD5)
    lines = str(caught.value).splitlines()
    assert lines[0] == "file.bin could not be fetched:"
    reasons = ["HTTP 404 Not Found", "HTTP 503 Service Unavailable", "sent another file",
               "no connection, .*refused", "no connection, .*file:///etc/passwd"]
    for line, url, reason in zip(lines[1:], sources, reasons, strict=True):
        assert re.match(rf"  {re.escape(url)}: {reason}", line), line
    assert names(goal) == []


@pytest.mark.parametrize("arguments, message", [
    ({"urls": "http://x/y"}, "urls must be a sequence of at least one address, got 'http://x/y'"),
    ({"urls": []}, r"urls must be a sequence of at least one address, got \[\]"),
    ({"md5": "abc"}, "md5 must have 32 hexadecimal digits, got 'abc'"),
    ({"sha256": MD5}, "sha256 must have 64 hexadecimal digits"),
])
def test_bad_arguments_are_errors(arguments, message, goal):
    with pytest.raises(ValueError, match=message):
        download(**{"urls": ["http://127.0.0.1:9/x"], "path": goal, **arguments})
    assert not goal.parent.exists()


def test_a_folder_is_no_such_file(tmp_path):
    with pytest.raises(ChecksumError, match="path must be a file"):
        verify(tmp_path, md5=MD5)
