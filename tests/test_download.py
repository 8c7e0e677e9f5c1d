"""The real download code against a server on this machine that behaves badly in every known way."""

import hashlib
import re
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fakes import assert_said, refusal

from galutils import download
from galutils.download import RemoteFile

CONTENT = bytes(range(256)) * 4000  # a megabyte
FILE = RemoteFile("sky.h5", "", f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", len(CONTENT), "bring it by hand")

#: What the server does, if it is not one of the Handler's methods: a status, what it sends, and as how much.
ANSWERS = {
    "missing": (404, b"", 0),
    "busy": (429, b"", 0),
    "broken": (500, b"", 0),
    "wrong_length": (200, CONTENT, len(CONTENT) + 1000),
    "huge": (200, b"", 10**18),
}


class Handler(BaseHTTPRequestHandler):
    """Plays one behaviour of ``server.script`` per request, the last one again and again."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        script = self.server.script
        behaviour = script.pop(0) if len(script) > 1 else script[0]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.server.requests.append((behaviour, start))
        if behaviour in ANSWERS:
            self.answer(*ANSWERS[behaviour], Retry_After=int(behaviour == "busy"))
            self.close_connection = True
        else:
            getattr(self, behaviour)(start)

    def answer(self, status, body, length, **headers):
        self.send_response(status)
        for name, value in {"Content_Length": length, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def good(self, start, sent=None, content=CONTENT):
        rest = content[start:]
        if start >= len(content):
            self.answer(416, b"", 0, Content_Range=f"bytes */{len(content)}")
        else:
            self.answer(206 if start else 200, rest[:sent], len(rest), Content_Range=f"bytes {start}-/{len(content)}")
        self.close_connection = sent is not None

    def cut(self, start):
        self.good(start, sent=5 << 16)

    def no_range(self, start):
        self.good(0)

    def wrong(self, start):
        self.good(start, content=bytes(len(CONTENT)))

    def stall(self, start):
        self.answer(200, CONTENT[:1000], len(CONTENT))
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests, server.script = [], ["good"]
    server.url = f"http://127.0.0.1:{server.server_port}/sky.h5"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def bring(server, folder, script, check=False, **changes):
    server.script = script
    return download.fetch(replace(FILE, **{"url": server.url} | changes), folder, check=check)


def kept(folder):
    """Names in the folder without the lock."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize(
    "script",
    ["good", "cut cut good", "cut no_range", "busy good", "broken broken good", "stall good", "cut broken busy good"],
)
def test_a_bad_connection_is_survived(server, tmp_path, script):
    assert bring(server, tmp_path, script.split()).read_bytes() == CONTENT
    assert kept(tmp_path) == ["sky.h5"]


@pytest.mark.parametrize(
    ("there", "requests"),
    [
        (CONTENT[:123_456], [("cut", 123_456), ("good", 123_456 + (5 << 16))]),
        (CONTENT, [("cut", len(CONTENT))]),
        (CONTENT + b"more", [("cut", len(CONTENT) + 4), ("good", 0)]),
    ],
    ids=["a part", "all", "too much"],
)
def test_it_goes_on_where_an_earlier_run_stopped(server, tmp_path, there, requests):
    (tmp_path / "sky.h5.part").write_bytes(there)
    assert bring(server, tmp_path, ["cut", "good"]).read_bytes() == CONTENT
    assert server.requests == requests


REFUSALS = {
    "missing": "the server answers 404 Not Found",
    "wrong": "what came is another file, by its checksum, and was not kept",
    "broken": "the server keeps refusing; try again later",
    "stall": "no progress in 5 tries: timed out",
    "wrong_length": "the server offers 1,025,000 bytes in place of 1,024,000",
}


@pytest.mark.parametrize(("behaviour", "reason"), REFUSALS.items())
def test_what_cannot_be_had_is_said_in_one_sentence_that_names_the_url_once(server, tmp_path, behaviour, reason):
    said = refusal(bring, server, tmp_path, [behaviour])
    assert_said(said, f"sky.h5 could not be downloaded ({server.url}: {reason}); bring it by hand.")
    assert said.count(server.url) == 1
    assert "sky.h5" not in kept(tmp_path)
    if behaviour == "wrong":  # neither tried again nor kept to be resumed
        assert (len(server.requests), kept(tmp_path)) == (1, [])


def test_of_unknown_size_and_a_known_beginning_of_the_checksum(server, tmp_path):
    digits = hashlib.md5(CONTENT).hexdigest()[:8]
    assert bring(server, tmp_path, ["cut", "good"], size=None, checksum=f"md5:{digits}").read_bytes() == CONTENT


def test_a_full_disk_is_told_before_the_download(server, tmp_path):
    sentence = "GB free, but 1000000000.0 GB are needed; make room, or set GALUTILS_DATA to a folder on another disk."
    assert_said(refusal(bring, server, tmp_path, ["huge"], size=None), f"{tmp_path}: has … {sentence}")
    assert "sky.h5" not in kept(tmp_path)


def test_several_at_once_download_once(server, tmp_path):
    threads = [threading.Thread(target=bring, args=(server, tmp_path, ["slow"])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert (tmp_path / "sky.h5").read_bytes() == CONTENT


def test_a_copy_is_checked_and_taken(tmp_path):
    (copy := tmp_path / "copy.h5").write_bytes(CONTENT)
    assert download.fetch(FILE, tmp_path / "home", copy=copy).read_bytes() == CONTENT
    copy.write_bytes(CONTENT[:-1])
    for path, said in (
        (copy, "is not sky.h5, by its checksum; nothing was taken, get the file again."),
        (tmp_path / "absent", "there is no such file; give the path of your copy of sky.h5."),
    ):
        assert refusal(download.fetch, FILE, tmp_path / "other", copy=path) == f"{path}: {said}"
    assert kept(tmp_path / "other") == []
    assert copy.exists()


def test_a_proxy_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url.rsplit("/", 1)[0])
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert bring(server, tmp_path, ["good"], url="http://far.example/sky.h5").read_bytes() == CONTENT


def test_who_asks_for_a_file_gets_a_sound_one(server, tmp_path):
    """A damaged file that is there is brought anew; a study, which does not ask, takes what is there."""
    (tmp_path / "sky.h5").write_bytes(CONTENT[:999])
    assert len(bring(server, tmp_path, ["good"]).read_bytes()) == 999
    for _ in range(2):
        assert bring(server, tmp_path, ["good"], check=True).read_bytes() == CONTENT
        assert len(server.requests) == 1
