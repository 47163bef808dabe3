"""The sandbox's HTTP server: loopback only, a thread per connection, and a control path for faults and the bill."""

import json
import logging
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from providers.sandbox.addresses import is_loopback
from providers.sandbox.billing import Bill, Line
from providers.sandbox.fake_jobs import FILM_SECONDS, QUICK_SECONDS, Clock, now
from providers.sandbox.faults import Fault, FaultBoard
from providers.sandbox.outgoing_callbacks import Callbacks
from providers.sandbox.registry import SLUGS, make_vendors
from providers.sandbox.vendor_base import Call, Reply, Stream, words_in

logger = logging.getLogger("sandbox")

CONTROL = "_sandbox"
MAX_BODY_BYTES = 32 * 1024 * 1024  # pictures travel inside
PAUSE_SECONDS = 0.08  # between the pieces of a stream: slow enough to watch, quick enough to wait for
LOOK_SECONDS = 0.2  # how soon a hanging call notices that its client has gone, or that the sandbox ends


class Sandbox(ThreadingHTTPServer):
    """The server and what can be told to it."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(
        self,
        host: str,
        port: int,
        *,
        pause_seconds: float = PAUSE_SECONDS,
        film_seconds: float = FILM_SECONDS,
        quick_seconds: float = QUICK_SECONDS,
        clock: Clock = now,
        webhook_secret: str = "",
    ) -> None:
        """Listen on the address. Raises ValueError when it is not of this machine, OSError when it is taken."""
        if not is_loopback(host):
            raise ValueError(f"The sandbox listens on this machine only, not on {host!r}.")
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.faults = FaultBoard(SLUGS)
        self.bill = Bill()
        self.pause_seconds = pause_seconds
        self.is_closing = threading.Event()
        self.vendors = make_vendors(
            film_seconds=film_seconds,
            quick_seconds=quick_seconds,
            clock=clock,
            callbacks=Callbacks(webhook_secret, self.is_closing),
        )
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}"

    def break_provider(self, slug: str, fault: str) -> None:
        """Let a provider fail from now on. Raises ValueError for a name that is none."""
        self.faults.break_provider(slug, Fault.named(fault))

    def heal(self, slug: str = "") -> None:
        """Let one provider work again, or all."""
        self.faults.heal(slug)

    def close(self) -> None:
        """End every connection and stop listening, so that the address refuses whoever comes next."""
        self.is_closing.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.exception("A connection broke the sandbox.")


@contextmanager
def running_sandbox(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    pause_seconds: float = 0.0,
    film_seconds: float = FILM_SECONDS,
    quick_seconds: float = 0.0,
    clock: Clock = now,
    webhook_secret: str = "",
) -> Iterator[Sandbox]:
    """Run a sandbox in a thread and lend it; port 0 takes a free one."""
    sandbox = Sandbox(
        host,
        port,
        pause_seconds=pause_seconds,
        film_seconds=film_seconds,
        quick_seconds=quick_seconds,
        clock=clock,
        webhook_secret=webhook_secret,
    )
    thread = threading.Thread(target=sandbox.serve_forever, kwargs={"poll_interval": 0.01}, name="sandbox", daemon=True)
    thread.start()
    try:
        yield sandbox
    finally:
        sandbox.close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection; it may carry many calls."""

    server: Sandbox
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def version_string(self) -> str:
        return "sandbox"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: calls are logged in our own words, and without their paths' surprises."""

    def handle(self) -> None:
        # A client may leave at any moment; that is its right.
        with suppress(ConnectionError, TimeoutError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def _serve(self) -> None:
        body = self._read_body()
        if body is None:
            return
        parts = urlsplit(self.path)
        slug, _, rest = unquote(parts.path).lstrip("/").partition("/")
        if slug == CONTROL:
            self._control(rest, body)
        elif slug in SLUGS:
            headers = {name.lower(): value for name, value in self.headers.items()}
            origin = f"{self.server.url}/{slug}"
            self._answer(slug, Call(self.command, f"/{rest}", headers, body, parts.query, origin))
        else:
            known = [f"{self.server.url}/{name}{vendor.order_path}" for name, vendor in self.server.vendors.items()]
            self._send(Reply(404, {"error": "This is the sandbox. It answers at these addresses.", "addresses": known}))

    def _read_body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(Reply(413, {"error": f"The body needs a Content-Length of at most {MAX_BODY_BYTES}."}))
            return None
        return self.rfile.read(int(length))

    def _answer(self, slug: str, call: Call) -> None:
        vendor, fault = self.server.vendors[slug], self.server.faults.fault_of(slug)
        if fault == Fault.HANG:
            self._write_down(call, vendor.unbilled(call))
            logger.info("%s takes %s %s and says nothing.", slug, call.method, call.path)
            self._hang()
            return
        response, line = vendor.respond(call, fault)
        # Before a byte leaves: a client that goes away in the middle is billed too.
        self._write_down(call, line)
        status = response.status if isinstance(response, Reply) else "a stream"
        logger.info("%s answers %s %s with %s%s", slug, call.method, call.path, status, f" ({fault})" if fault else "")
        if isinstance(response, Stream):
            self._send_stream(response)
        elif self.server.is_closing.wait(response.delay_seconds):
            self.close_connection = True
        else:
            self._send(response)

    def _write_down(self, call: Call, line: Line | None) -> None:
        if line:
            self.server.bill.add(replace(line, asked=words_in(call)))

    def _hang(self) -> None:
        """Wait until the client has gone or the sandbox ends."""
        self.close_connection = True
        while not self.server.is_closing.is_set():
            is_readable, _, _ = select.select([self.connection], [], [], LOOK_SECONDS)
            if is_readable and not self.connection.recv(1, socket.MSG_PEEK):
                return
            if is_readable:
                time.sleep(LOOK_SECONDS)  # it goes on talking; nobody listens

    def _send(self, reply: Reply) -> None:
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body, ensure_ascii=False).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(content)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.is_cut:
            self.close_connection = True
            content = content[: len(content) // 2]
        self.wfile.write(content)
        self.wfile.flush()

    def _send_stream(self, stream: Stream) -> None:
        self.send_response(200)
        # Without a charset, as some vendors do it; the content is UTF-8 all the same.
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in stream.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for event in stream.events:
            content = event.encode()
            if content:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
                self.wfile.flush()
                if self.server.is_closing.wait(self.server.pause_seconds):
                    self.close_connection = True
                    return
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _control(self, path: str, body: bytes) -> None:
        try:
            status, content = 200, self._controlled(path, body)
        except ValueError as error:
            status, content = 400, {"error": str(error)}
        except LookupError:
            status, content = 404, {"error": f"There is no {self.command} {path}."}
        self._send(Reply(status, content))

    def _controlled(self, path: str, body: bytes) -> Any:
        match self.command, path:
            case "GET", "faults":
                return self.server.faults.as_dict()
            case "POST", "faults":
                self._set_fault(body)
                return self.server.faults.as_dict()
            case "GET", "bill":
                return self.server.bill.as_list()
            case "DELETE", "bill":
                self.server.bill.clear()
                return []
        raise LookupError

    def _set_fault(self, body: bytes) -> None:
        # A page in a browser cannot send this type without asking first, and nobody answers its question.
        if self.headers.get_content_type() != "application/json":
            raise ValueError("Send application/json.")
        wish = json.loads(body or b"{}")
        if not isinstance(wish, dict):
            raise ValueError('Send {"provider": "aimlapi", "fault": "down"}; a fault of null heals.')
        if wish.get("fault") is None:
            self.server.heal(str(wish.get("provider") or ""))
        else:
            self.server.break_provider(str(wish.get("provider") or ""), str(wish["fault"]))
