"""The sandbox's HTTP server: loopback only, a thread per connection, and a control interface for faults and billing."""

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

from providers.sandbox.billing import BillingLine, BillingLog
from providers.sandbox.exchange import EventStream, VendorReply, VendorRequest
from providers.sandbox.fake_jobs import QUICK_SECONDS, VIDEO_SECONDS, Clock, now
from providers.sandbox.faults import FaultBoard, InjectedFault
from providers.sandbox.outgoing_callbacks import OutgoingCallbacks, is_loopback
from providers.sandbox.registry import vendor_classes
from providers.sandbox.vendor_base import VendorServices

logger = logging.getLogger("sandbox")

CONTROL_PREFIX = "_sandbox"
MAX_BODY_BYTES = 32 * 1024 * 1024  # images travel inside
PAUSE_SECONDS = 0.08  # between the events of a stream: slow enough to watch, quick enough to wait for
CHECK_SECONDS = 0.2  # how soon a hanging request notices that its client has gone, or that the sandbox ends


class Sandbox(ThreadingHTTPServer):
    """The server, and the control of its faults."""

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
        video_seconds: float = VIDEO_SECONDS,
        quick_seconds: float = QUICK_SECONDS,
        clock: Clock = now,
        webhook_secret: str = "",
    ) -> None:
        """Listen on the address. Raises ValueError when it is not of this machine, OSError when it is taken."""
        if not is_loopback(host):
            raise ValueError(f"The sandbox listens on this machine only, not on {host!r}.")
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.pause_seconds = pause_seconds
        self.is_closing = threading.Event()
        self.billing = BillingLog()
        services = VendorServices(
            callbacks=OutgoingCallbacks(webhook_secret, self.is_closing),
            billing=self.billing,
            clock=clock,
            video_seconds=video_seconds,
            quick_seconds=quick_seconds,
        )
        self.vendors = {slug: vendor_class(services) for slug, vendor_class in vendor_classes().items()}
        self.faults = FaultBoard(self.vendors)
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((host, port), SandboxHandler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}"

    def break_provider(self, slug: str, fault: str) -> None:
        """Let a provider fail from now on. Raises ValueError for an unknown provider or fault."""
        self.faults.break_provider(slug, InjectedFault.named(fault))

    def heal(self, slug: str = "") -> None:
        """Let one provider work again, or all. Raises ValueError for an unknown provider."""
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
    *, host: str = "127.0.0.1", port: int = 0, pause_seconds: float = 0.0, quick_seconds: float = 0.0, **options: Any
) -> Iterator[Sandbox]:
    """Run a sandbox in a thread until the context ends; port 0 takes a free one. `options` are those of Sandbox."""
    sandbox = Sandbox(host, port, pause_seconds=pause_seconds, quick_seconds=quick_seconds, **options)
    thread = threading.Thread(target=sandbox.serve_forever, kwargs={"poll_interval": 0.01}, name="sandbox", daemon=True)
    thread.start()
    try:
        yield sandbox
    finally:
        sandbox.close()
        thread.join()


class SandboxHandler(BaseHTTPRequestHandler):
    """One connection; it may carry many requests."""

    server: Sandbox
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together

    def version_string(self) -> str:
        return "sandbox"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: requests are logged once they are understood."""

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
        if slug == CONTROL_PREFIX:
            self._control(rest, body)
        elif slug in self.server.vendors:
            headers = {name.lower(): value for name, value in self.headers.items()}
            origin, fault = f"{self.server.url}/{slug}", self.server.faults.fault_of(slug)
            self._answer(slug, VendorRequest(self.command, f"/{rest}", headers, body, parts.query, origin, fault))
        else:
            known = [
                f"{self.server.url}/{name}{endpoint.path}"
                for name, vendor in self.server.vendors.items()
                for endpoint in vendor.endpoints()
                if endpoint.is_submission
            ]
            body_404 = {"error": "This is the sandbox. It answers at these addresses.", "addresses": known}
            self._send(VendorReply(404, body_404))

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 — the names that http.server looks for

    def _read_body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(VendorReply(413, {"error": f"The body needs a Content-Length of at most {MAX_BODY_BYTES}."}))
            return None
        return self.rfile.read(int(length))

    def _answer(self, slug: str, request: VendorRequest) -> None:
        vendor, fault = self.server.vendors[slug], request.fault
        if fault is InjectedFault.HANG:
            self._record(request, vendor.unbilled(request))
            logger.info("%s accepts %s %s and hangs", slug, request.method, request.path)
            self._hang()
            return
        response, line = vendor.respond(request)
        # Before a byte leaves: a client that goes away in the middle is billed too.
        self._record(request, line)
        status = response.status if isinstance(response, VendorReply) else "a stream"
        with_fault = f" ({fault})" if fault else ""
        logger.info("%s answers %s %s with %s%s", slug, request.method, request.path, status, with_fault)
        if isinstance(response, EventStream):
            self._send_stream(response)
        elif self.server.is_closing.wait(response.delay_seconds):
            self.close_connection = True
        else:
            self._send(response)

    def _record(self, request: VendorRequest, line: BillingLine | None) -> None:
        if line:
            self.server.billing.add(replace(line, prompt=request.prompt))

    def _hang(self) -> None:
        """Wait until the client has gone or the sandbox ends."""
        self.close_connection = True
        while not self.server.is_closing.is_set():
            is_readable, _, _ = select.select([self.connection], [], [], CHECK_SECONDS)
            if is_readable and not self.connection.recv(1, socket.MSG_PEEK):
                return
            if is_readable:
                time.sleep(CHECK_SECONDS)  # it goes on sending, unread

    def _send(self, reply: VendorReply) -> None:
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

    def _send_stream(self, stream: EventStream) -> None:
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
        self._send(VendorReply(status, content))

    def _controlled(self, path: str, body: bytes) -> Any:
        match self.command, path:
            case "GET", "faults":
                return self.server.faults.as_dict()
            case "POST", "faults":
                self._set_fault(body)
                return self.server.faults.as_dict()
            case "GET", "billing":
                return self.server.billing.as_list()
        raise LookupError

    def _set_fault(self, body: bytes) -> None:
        # A page in a browser cannot send this type without a preflight request, and that is never answered.
        if self.headers.get_content_type() != "application/json":
            raise ValueError("Send application/json.")
        command = json.loads(body or b"{}")
        if not isinstance(command, dict):
            raise ValueError('Send {"provider": "aimlapi", "fault": "down"}; a fault of null heals.')
        slug, fault = str(command.get("provider") or ""), command.get("fault")
        if fault is None:
            self.server.heal(slug)
        else:
            self.server.break_provider(slug, str(fault))
