"""A bucket of an S3-compatible store on the loopback: it stores, serves and deletes objects, and checks signatures."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY_ID = "a-key-id"
SECRET = "a-secret-access-key"
NAME = "media"
MISSING = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"


@dataclass
class FakeBucket:
    """The bucket's objects, by name."""

    url: str = ""
    objects: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # content type and content
    is_broken: bool = False
    is_forbidden: bool = False  # refuses every call, as after a change of the credentials' rights


@contextmanager
def running_bucket() -> Iterator[FakeBucket]:
    fake = FakeBucket()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(fake))
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def _handler_for(fake: FakeBucket) -> type[BaseHTTPRequestHandler]:
    class BucketHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            if self.headers.get("Expect") == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            # Many stores do not support chunks with trailing checksums.
            assert "aws-chunked" not in self.headers.get("Content-Encoding", "")
            assert self.headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
            if self._is_served():
                fake.objects[self._name()] = (self.headers["Content-Type"], body)
                self._answer(200)

        def do_GET(self) -> None:
            self._show(with_body=True)

        def do_HEAD(self) -> None:
            self._show(with_body=False)

        def do_DELETE(self) -> None:
            if self._is_served():
                fake.objects.pop(self._name(), None)
                self._answer(204)

        def _show(self, *, with_body: bool) -> None:
            if not self._is_served():
                return
            if self._name() not in fake.objects:
                self._answer(404, body=MISSING if with_body else b"")
                return
            content_type, content = fake.objects[self._name()]
            self._answer(200, content_type, content, with_body=with_body)

        def _is_served(self) -> bool:
            assert f"Credential={KEY_ID}/" in self.headers["Authorization"]
            assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
            if fake.is_broken:
                self._answer(503, body=b"<Error><Code>SlowDown</Code></Error>")
            elif fake.is_forbidden:
                self._answer(403, body=b"<Error><Code>AccessDenied</Code></Error>")
            return not (fake.is_broken or fake.is_forbidden)

        def _name(self) -> str:
            bucket, _, name = self.path.partition("?")[0].lstrip("/").partition("/")
            assert bucket == NAME
            return name

        def _answer(
            self, status: int, content_type: str = "application/xml", body: bytes = b"", *, with_body: bool = True
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
            self.send_header("Last-Modified", "Mon, 23 Nov 2026 10:00:00 GMT")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: the tests read the objects."""

    return BucketHandler
