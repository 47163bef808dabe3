"""A loopback HTTP server that follows a script byte by byte, including the faults of real networks."""

import gzip
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.parser import BytesParser
from typing import Any

HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: int  # the number of its connection, from 1

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ServerConnection:
    """The server's end of one connection, as a step of the script sees it."""

    def __init__(self, sock: socket.socket, number: int, stopped: threading.Event) -> None:
        self.sock = sock
        self.number = number
        self.is_open = True
        self._stopped = stopped

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait(self, seconds: float | None = None) -> None:
        """Send nothing for so long, or until the test is over."""
        if self._stopped.wait(seconds):
            raise ConnectionAbortedError

    def close(self) -> None:
        """End the connection in order, with a FIN."""
        self.is_open = False

    def reset(self) -> None:
        """End it as a crashing server does, with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_open = False


Step = Callable[[ServerConnection], None]


class FakeServer:
    """Answers each request with the next step of its script, and repeats the last one."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self._script: deque[Step] = deque()
        self._stopped = threading.Event()
        self._connections: list[ServerConnection] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def will(self, *steps: Step) -> None:
        """Follow these steps from now on, one for each request."""
        self._script = deque(steps)

    def close(self) -> None:
        """Wake every waiting step and close all connections."""
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
        self._listener.close()
        for connection in self._connections:
            connection.sock.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection = ServerConnection(sock, self.connections, self._stopped)
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: ServerConnection) -> None:
        try:
            with connection.sock, connection.sock.makefile("rb") as reader:
                while connection.is_open and (request := _read_request(reader, connection.number)):
                    self.received.append(request)
                    step = self._script.popleft() if len(self._script) > 1 else self._script[0]
                    step(connection)
        except (OSError, ValueError):
            pass  # the client has gone, or the test is over


def _read_request(reader: Any, number: int) -> Received | None:
    start = reader.readline().split()
    if not start:
        return None
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line)
    headers = {name.lower(): value for name, value in BytesParser().parsebytes(b"".join(lines)).items()}
    body = reader.read(int(headers.get("content-length", 0)))
    return Received(start[0].decode(), start[1].decode(), headers, body, number)


def head(status: int = 200, **headers: str | int) -> bytes:
    """Return a status line and headers; underscores in names stand for hyphens."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + HEAD_END


def answer(body: Any, status: int = 200, content_type: str = "application/json", **headers: str | int) -> Step:
    """Answer with bytes, text, or anything as JSON."""
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return raw(head(status, Content_Type=content_type, Content_Length=len(body), **headers) + body)


def raw(data: bytes) -> Step:
    """Send exactly these bytes and keep the connection."""
    return lambda connection: connection.send(data)


def stream(chunks: Iterable[bytes], *, ends: bool = True) -> Step:
    """Answer with server-sent events, one HTTP chunk each; without `ends` the body is cut off after the last."""

    def step(connection: ServerConnection) -> None:
        connection.send(head(Content_Type="text/event-stream", Transfer_Encoding="chunked"))
        for chunk in chunks:
            connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if ends:
            connection.send(b"0\r\n\r\n")
        else:
            connection.close()

    return step


def hang(connection: ServerConnection) -> None:
    """Take the request and never answer."""
    connection.wait()


def hang_after(data: bytes) -> Step:
    """Send this, then nothing more."""

    def step(connection: ServerConnection) -> None:
        connection.send(data)
        connection.wait()

    return step


def drip(data: bytes, seconds: float = 1.0) -> Step:
    """Send one byte at a time with a pause after each: no single read ever waits for long."""

    def step(connection: ServerConnection) -> None:
        for position in range(len(data)):
            connection.send(data[position : position + 1])
            connection.wait(seconds)

    return step


def drip_for_ever(start: bytes, filler: bytes, seconds: float) -> Step:
    """Send `start`, then the same filler again and again."""

    def step(connection: ServerConnection) -> None:
        connection.send(start)
        while True:
            connection.send(filler)
            connection.wait(seconds)

    return step


def reset(connection: ServerConnection) -> None:
    """Reset the connection without an answer."""
    connection.reset()


def reset_after(data: bytes) -> Step:
    """Reset the connection in the middle of the answer."""

    def step(connection: ServerConnection) -> None:
        connection.send(data)
        connection.reset()

    return step


def close_after(data: bytes) -> Step:
    """Close the connection in order after these bytes."""

    def step(connection: ServerConnection) -> None:
        connection.send(data)
        connection.close()

    return step


def half_body(connection: ServerConnection) -> None:
    """Promise more than is sent."""
    connection.send(head(Content_Type="application/json", Content_Length=1000) + b'{"choices": [{"mess')
    connection.close()


def gzip_bomb(megabytes: int) -> Step:
    """Answer with a small body that decompresses to a huge one."""
    body = gzip.compress(bytes(megabytes * 1024 * 1024))
    return answer(body, Content_Encoding="gzip")


def endless(connection: ServerConnection) -> None:
    """Send an endless body, as fast as it is read."""
    connection.send(head(Content_Type="application/json", Transfer_Encoding="chunked"))
    chunk = b"%x\r\n%s\r\n" % (65536, b" " * 65536)
    while True:
        connection.send(chunk)
