"""Answers as providers and gateways really send them, byte for byte, played to the real chain.

Each is in tests/answers/*.json: `steps` (text or base64 to send, seconds to wait, close), `what` it is in words,
`expect` in facts, and in further.json the `source`: a public report by repository and number, or a document.
`http://SERVER` in them is the address of the server that plays them; a length that this changes is corrected.
"""

import base64
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db.models.functions import Now

from providers.chain import candidates
from providers.chain.fallback import ChainRun, Pending
from providers.errors import ChainError
from providers.models import Attempt, ProviderConfig, ProviderHealth
from providers.registry import PROVIDERS
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Prompt, TextResult
from tests.fakes.http_server import FakeServer, ServerConnection

ANSWERS = Path(__file__).parent.parent / "answers"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(64)
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(100)
MP3 = b"ID3\x04" + bytes(6) + b"\xff\xfb\x90\x00" + bytes(400)
FILES = {"png": PNG, "jpg": JPEG, "mp4": MP4, "mp3": MP3, "txt": b"some words"}
MAX_POLLS = 5


def load_answers() -> list[dict[str, Any]]:
    """Return all answers, in the order of the files."""
    return [entry for path in sorted(ANSWERS.glob("*.json")) for entry in json.loads(path.read_text(encoding="utf-8"))]


def play(entry: dict[str, Any], server: FakeServer, settings: Any) -> dict[str, Any]:
    """Play an answer to the chain, whose only route is the provider's, and return what came of it."""
    slug, category = entry["provider"], entry["category"]
    ProviderConfig.objects.filter(category=category).exclude(name=slug).delete()
    route = ProviderConfig.objects.get(category=category, name=slug)
    route.enabled, route.timeout_seconds = True, 1 if category == "TEXT" else 20
    for name, value in entry.get("route", {}).items():
        setattr(route, name, value)
    route.save()
    settings.PROVIDER_ACCESS = {slug: Access("a-key-for-tests", f"{server.url}{PROVIDERS[slug].base_path}")}
    candidates._chains.clear()
    server.will(step_of(entry, server))
    shown: list[str] = []
    kept: list[Any] = []
    error = ""
    for _ in range(MAX_POLLS):
        run = ChainRun(
            Prompt(Category(category), "Say hello"),
            caller_key=entry["id"],
            deadline=Deadline.after(60),
            store=kept.append,
            on_text=shown.append if entry["mode"] == "stream" else None,
        )
        try:
            if not isinstance(run.answer(), Pending):
                break
        except ChainError:
            break
    attempt = Attempt.objects.get(caller_key=entry["id"])
    error = attempt.error_class
    health = ProviderHealth.objects.filter(open_until__isnull=False).annotate(now=Now()).first()
    outcome = {
        "state": attempt.state,
        "error": error,
        "cost": None if attempt.cost is None else str(attempt.cost.normalize() + Decimal(0)),
        "source": attempt.cost_source,
        "pause": round((health.open_until - health.now).total_seconds(), -1) if health else 0,
    }
    result = kept[-1].result if kept else None
    if isinstance(result, TextResult):
        outcome["text"] = result.text
        if getattr(result, "finish_reason", ""):
            outcome["finish"] = result.finish_reason
    return outcome


def step_of(entry: dict[str, Any], server: FakeServer) -> Any:
    """Return what the server does with the requests of this answer."""

    def step(connection: ServerConnection) -> None:
        request = server.received[-1]
        if request.method == "GET":
            connection.send(_file_or_job(entry, server, request.path))
            return
        for part in entry["steps"]:
            if "wait_seconds" in part:
                connection.wait(part["wait_seconds"] * 0.3)
            elif "close" in part:
                connection.close()
            else:
                connection.send(_bytes_of(part, server))

    return step


def _bytes_of(part: dict[str, Any], server: FakeServer) -> bytes:
    data = base64.b64decode(part["base64"]) if "base64" in part else part["text"].encode()
    if b"http://SERVER" not in data:
        return _fresh(data)
    head, _, body = data.replace(b"http://SERVER", server.url.encode()).partition(b"\r\n\r\n")
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body


def _fresh(data: bytes) -> bytes:
    """Return the bytes with the moments in them as if they had been sent now."""
    reset = b'"X-RateLimit-Reset": "%d"' % ((time.time() + 240) * 1000)
    return re.sub(rb'"X-RateLimit-Reset": "\d{13}"', reset, data)


def _file_or_job(entry: dict[str, Any], server: FakeServer, path: str) -> bytes:
    extension = path.rpartition(".")[2]
    if "/files/" in path and extension in FILES:
        content, kind = FILES[extension], "application/octet-stream"
    else:
        job = json.loads(_bytes_of(entry["steps"][0], server).partition(b"\r\n\r\n")[2])
        if job.get("status") == "starting":
            job |= {"status": "succeeded", "output": f"{server.url}/files/a.png"}
        body = job if path.count("/") > 2 else {"results": [job], "next": None}
        content, kind = json.dumps(body).encode(), "application/json"
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        kind.encode(),
        len(content),
        content,
    )
