"""A stand-in for Replicate on the loopback whose predictions run until a test ends them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "r8-a-key-for-tests"
VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(2000)


@dataclass
class FakePrediction:
    """One submitted job."""

    id: str
    model: str
    input: dict[str, Any]
    created_at: str
    polls: int = 0
    downloads: int = 0  # of its file


@dataclass
class FakeReplicate:
    """The server's jobs. They run until `finish` is set."""

    url: str = ""
    jobs: dict[str, FakePrediction] = field(default_factory=dict)
    finish: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def submit(self, model: str, body: dict[str, Any]) -> FakePrediction:
        with self.lock:
            number = len(self.jobs) + 1
            prediction = FakePrediction(f"job{number}", model, body["input"], datetime.now(UTC).isoformat())
            self.jobs[prediction.id] = prediction
        return prediction

    def as_json(self, prediction: FakePrediction) -> dict[str, Any]:
        is_done = self.finish.is_set()
        return {
            "id": prediction.id,
            "model": prediction.model,
            "version": "hidden",
            "input": prediction.input,
            "status": "succeeded" if is_done else "processing",
            "output": f"{self.url}/files/{prediction.id}.mp4" if is_done else None,
            "error": None,
            "data_removed": False,
            "created_at": prediction.created_at,
            "metrics": {"predict_time": 1.5} if is_done else {},
            "urls": {name: f"{self.url}/{name}" for name in ("get", "cancel", "web")},
        }


@contextmanager
def running_replicate() -> Iterator[FakeReplicate]:
    """Run the server and lend it; its base URL has no path."""
    fake = FakeReplicate()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(fake))
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def _handler_for(fake: FakeReplicate) -> type[BaseHTTPRequestHandler]:
    class ReplicateHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Authorization"] == f"Bearer {KEY}"
            _, owner, name, _ = self.path.removeprefix("/models").split("/")
            self._answer(201, fake.as_json(fake.submit(f"{owner}/{name}", body)))

        def do_GET(self) -> None:
            if self.path.startswith("/files/"):
                assert "Authorization" not in self.headers
                fake.jobs[self.path.removeprefix("/files/").removesuffix(".mp4")].downloads += 1
                self._send(200, "video/mp4", VIDEO)
            elif self.path == "/predictions":
                newest_first = reversed(fake.jobs.values())
                self._answer(200, {"results": [fake.as_json(prediction) for prediction in newest_first]})
            else:
                prediction = fake.jobs[self.path.removeprefix("/predictions/")]
                prediction.polls += 1
                self._answer(200, fake.as_json(prediction))

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            self._send(status, "application/json", json.dumps(body).encode())

        def _send(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing: the tests read the jobs."""

    return ReplicateHandler
