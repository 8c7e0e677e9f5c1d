"""The real download code against a server on this machine that behaves badly in every known way."""

import hashlib
import re
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from galutils import download
from galutils.download import FetchError, RemoteFile
from galutils.files import WriteError

CONTENT = bytes(range(256)) * 4000  # a megabyte
FILE = RemoteFile("sky.h5", "", f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", len(CONTENT), "bring it by hand")


class Handler(BaseHTTPRequestHandler):
    """Plays one behaviour of ``server.script`` per request, the last one again and again."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        script = self.server.script
        behaviour = script.pop(0) if len(script) > 1 else script[0]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.server.requests.append((behaviour, start))
        getattr(self, behaviour)(start)

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def good(self, start, sent=None, content=CONTENT):
        rest = content[start:]
        if start >= len(content):
            self.answer(416, Content_Range=f"bytes */{len(content)}")
        elif start:
            self.answer(206, rest[:sent], len(rest), Content_Range=f"bytes {start}-/{len(content)}")
        else:
            self.answer(200, rest[:sent], len(rest))
        self.close_connection = sent is not None

    def cut(self, start):
        self.good(start, sent=5 << 16)

    def no_range(self, start):
        self.good(0)

    def missing(self, start):
        self.answer(404)

    def busy(self, start):
        self.answer(429, Retry_After="1")

    def broken(self, start):
        self.answer(500)

    def wrong_length(self, start):
        self.answer(200, CONTENT, len(CONTENT) + 1000)
        self.close_connection = True

    def huge(self, start):
        self.answer(200, length=10**18)
        self.close_connection = True

    def wrong(self, start):
        self.good(start, content=bytes(len(CONTENT)))

    def stall(self, start):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])
        self.wfile.flush()
        time.sleep(1.5)
        self.close_connection = True

    def slow(self, start):
        time.sleep(0.3)
        self.good(start)

    def log_message(self, *_args):
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download, "_BLOCK", 1 << 16)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests, server.script = [], ["good"]
    server.url = f"http://127.0.0.1:{server.server_port}/sky.h5"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def bring(server, folder, script, **changes):
    server.script = script
    return download.fetch(replace(FILE, **{"url": server.url} | changes), folder)


def kept(folder):
    """Names in the folder without the lock."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize(
    "script",
    [
        ["good"],
        ["cut", "cut", "good"],
        ["cut", "no_range"],
        ["busy", "good"],
        ["broken", "broken", "good"],
        ["stall", "good"],
        ["cut", "broken", "cut", "busy", "good"],
    ],
    ids=" ".join,
)
def test_a_bad_connection_is_survived(server, tmp_path, script):
    path = bring(server, tmp_path, list(script))
    assert path.read_bytes() == CONTENT
    assert kept(tmp_path) == ["sky.h5"]


def test_it_goes_on_where_it_or_an_earlier_run_stopped(server, tmp_path):
    (tmp_path / "sky.h5.part").write_bytes(CONTENT[:123_456])
    assert bring(server, tmp_path, ["cut", "good"]).read_bytes() == CONTENT
    assert server.requests == [("cut", 123_456), ("good", 123_456 + (5 << 16))]


def test_a_complete_or_overlong_partial_file_is_dealt_with(server, tmp_path):
    (tmp_path / "sky.h5.part").write_bytes(CONTENT)
    assert bring(server, tmp_path, ["good"]).read_bytes() == CONTENT
    (tmp_path / "sky.h5").unlink()
    (tmp_path / "sky.h5.part").write_bytes(CONTENT + b"more")
    assert bring(server, tmp_path, ["good"]).read_bytes() == CONTENT


REFUSALS = {
    "missing": "the server answers 404 Not Found",
    "wrong": "what came is another file, by its checksum, and was not kept",
    "broken": "the server keeps refusing; try again later",
    "stall": "no progress in 5 tries: …Read timed out.",  # … is the library's way to name the server
    "wrong_length": "the server offers 1,025,000 bytes in place of 1,024,000",
}


@pytest.mark.parametrize(("behaviour", "reason"), REFUSALS.items())
def test_what_cannot_be_had_is_said_in_one_sentence_that_names_the_url_once(server, tmp_path, behaviour, reason):
    with pytest.raises(FetchError) as caught:
        bring(server, tmp_path, [behaviour])
    sentence = f"sky.h5 could not be downloaded ({server.url}: {reason}); bring it by hand."
    assert re.fullmatch(re.escape(sentence).replace("…", ".+"), str(caught.value))
    assert str(caught.value).count(server.url) == 1
    assert "sky.h5" not in kept(tmp_path)
    if behaviour == "wrong":  # neither tried again nor kept to be resumed
        assert len(server.requests) == 1
        assert kept(tmp_path) == []


def test_of_unknown_size_and_a_known_beginning_of_the_checksum(server, tmp_path):
    digits = hashlib.md5(CONTENT).hexdigest()[:8]
    assert bring(server, tmp_path, ["cut", "good"], size=None, checksum=f"md5:{digits}").read_bytes() == CONTENT


def test_a_full_disk_is_told_before_the_download(server, tmp_path):
    sentence = (
        r"GB free, but 1000000000\.0 GB are needed; make room, or set GALUTILS_DATA to a folder on another disk\."
    )
    with pytest.raises(WriteError, match=rf"^{tmp_path}: has \d+\.\d {sentence}$"):
        bring(server, tmp_path, ["huge"], size=None)
    assert "sky.h5" not in kept(tmp_path)


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    bring(server, tmp_path, ["good"])
    bring(server, tmp_path, ["missing"])
    assert len(server.requests) == 1


def test_two_at_once_download_once(server, tmp_path):
    threads = [threading.Thread(target=bring, args=(server, tmp_path, ["slow"])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert (tmp_path / "sky.h5").read_bytes() == CONTENT


def test_a_copy_is_checked_and_taken(tmp_path):
    (tmp_path / "stick").mkdir()
    copy = tmp_path / "stick" / "copy.h5"
    copy.write_bytes(CONTENT)
    assert download.fetch(FILE, tmp_path / "home", copy=copy).read_bytes() == CONTENT
    copy.write_bytes(CONTENT[:-1])
    with pytest.raises(FetchError, match=r"is not sky\.h5, by its checksum"):
        download.fetch(FILE, tmp_path / "other", copy=copy)
    with pytest.raises(FetchError, match="there is no such file"):
        download.fetch(FILE, tmp_path / "other", copy=tmp_path / "absent")
    assert kept(tmp_path / "other") == []
    assert copy.exists()


def test_a_proxy_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url.rsplit("/", 1)[0])
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert download.fetch(replace(FILE, url="http://far.example/sky.h5"), tmp_path).read_bytes() == CONTENT


def test_who_asks_for_a_file_gets_a_sound_one(server, tmp_path):
    """A damaged file that is there is brought anew; a study, which does not ask, takes what is there."""
    server.script = ["good"]
    file = replace(FILE, url=f"http://127.0.0.1:{server.server_port}/sky.h5")
    (tmp_path / "sky.h5").write_bytes(CONTENT[:999])
    assert len(download.fetch(file, tmp_path).read_bytes()) == 999
    assert download.fetch(file, tmp_path, check=True).read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert download.fetch(file, tmp_path, check=True).read_bytes() == CONTENT
    assert len(server.requests) == 1
