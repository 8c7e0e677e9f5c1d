"""The real download code against a server on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from galutils.fetch import fetch_galaxy10
from galutils.galaxy10 import DataError

CONTENT = bytes(range(256)) * 400


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == "/good.h5"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(CONTENT) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(CONTENT)

    def log_message(self, *_args):
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_download_is_checked_and_kept(server, tmp_path):
    checksum = hashlib.sha256(CONTENT).hexdigest()
    path = fetch_galaxy10(tmp_path, f"{server}/good.h5", checksum)
    assert path.read_bytes() == CONTENT
    assert fetch_galaxy10(tmp_path, f"{server}/gone.h5", checksum) == path  # no second download


@pytest.mark.parametrize(("name", "checksum"), [("gone.h5", "0" * 64), ("good.h5", "0" * 64)])
def test_failed_or_wrong_download_leaves_nothing(server, tmp_path, name, checksum):
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        fetch_galaxy10(tmp_path, f"{server}/{name}", checksum)
    assert "DATA=" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
