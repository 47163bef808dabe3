"""HTTP on the loopback as cheap as asyncio makes it, so that a measurement shows our processes and not its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

Reply = Mapping[str, Any]
# Takes the path and the body's fields; returns a JSON object, or yields the parts of a stream.
Handler = Callable[[str, Mapping[str, Any]], Awaitable[Reply] | AsyncIterator[bytes]]


async def serve_http(port: int, handle: Handler) -> asyncio.Server:
    """Answer every request on this port with what `handle` returns, with keep-alive."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path, fields = await _read_request(reader)
                answer = handle(path, fields)
                if isinstance(answer, AsyncIterator):
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                    )
                    async for part in answer:
                        if part:
                            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                            await writer.drain()
                    writer.write(b"0\r\n\r\n")
                else:
                    body = json.dumps(await answer).encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    writer.write(head.encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port, backlog=512)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, Mapping[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    if headers.get("content-type", "").startswith("application/json"):
        fields = json.loads(body)
    else:
        fields = dict(parse_qsl(body.decode("latin-1")))
    return head.split(" ", 2)[1], fields


class HttpConnection:
    """One connection, kept alive and opened again when it was closed; one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: Any, headers: Mapping[str, str]) -> int:
        """Post a JSON object; return the status."""
        payload = json.dumps(body).encode()
        lines = {
            "Host": "127.0.0.1",
            "Content-Type": "application/json",
            "Content-Length": str(len(payload)),
            **headers,
        }
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        async with self._lock:
            if self._streams is not None:
                try:
                    return await self._exchange(head.encode() + payload, *self._streams)
                except (OSError, asyncio.IncompleteReadError):
                    pass  # the server has closed the idle connection
            self._streams = await asyncio.open_connection(*self._address)
            return await self._exchange(head.encode() + payload, *self._streams)

    async def _exchange(self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if "content-length: " in head:
            await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        if "connection: close" in head:
            writer.close()
            self._streams = None
        return int(head.split(" ", 2)[1])
