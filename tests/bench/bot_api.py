"""CPU per edit of a message: our client beside bare urllib3, bare requests, and python-telegram-bot's own client.

Run by `make bench`, or as python -m tests.bench.bot_api [calls]. The server is another process on the loopback, so that
only the caller's CPU is counted. All sides take turns in short rounds and the medians are compared: a busy machine
disturbs them alike. The second table has many threads, as a worker has.
"""

import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
import requests
import telegram
import urllib3

django.setup()

from telegram_bot.api.client import TelegramClient  # noqa: E402
from telegram_bot.content.rendering import MessagePart  # noqa: E402

ROUNDS = 15
THREADS = 50
TOKEN = "4242:a-token-for-benchmarks"
TEXT = "Sunlight holds all colours, and the air scatters the blue ones most. " * 12
PART = MessagePart(TEXT, tuple(telegram.MessageEntity("bold", offset, 8) for offset in range(0, 800, 100)))
MESSAGE = {
    "message_id": 7,
    "from": {"id": 4242, "is_bot": True, "first_name": "Bench", "username": "bench_bot"},
    "chat": {"id": 42, "first_name": "Ada", "username": "ada", "type": "private"},
    "date": 1790000000,
    "edit_date": 1790000001,
    "text": TEXT,
    "entities": [entity.to_dict() for entity in PART.entities],
}
BODY = json.dumps({"ok": True, "result": MESSAGE}).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
PARAMETERS = {
    "chat_id": 42,
    "message_id": 7,
    "text": TEXT,
    "entities": MESSAGE["entities"],
    "link_preview_options": {"is_disabled": True},
}


def serve(listener: socket.socket) -> None:
    """Answer every POST with the same message."""
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve_connection, args=(connection,), daemon=True).start()


def _serve_connection(connection: socket.socket) -> None:
    reader = connection.makefile("rb")
    while reader.readline():
        length = 0
        while (line := reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        reader.read(length)
        connection.sendall(RESPONSE)


class LoopBot:
    """PTB's Bot on an event loop of its own, to which threads hand their calls: how the product made them once."""

    def __init__(self, base_url: str) -> None:
        request = telegram.request.HTTPXRequest(connection_pool_size=64)
        self._bot = telegram.Bot(TOKEN, base_url=f"{base_url}/bot", request=request)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def edit(self) -> Any:
        """Edit, and wait for the response."""
        work = self._bot._post("editMessageText", {**PARAMETERS, "entities": PART.entities})
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def cpu_microseconds(call: Callable[[], object], calls: int, threads: int = 1) -> float:
    """Return this process's CPU time for each of so many calls."""
    started = time.process_time()
    if threads == 1:
        for _ in range(calls):
            call()
    else:
        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(call) for _ in range(calls)]:
                future.result()
    return (time.process_time() - started) / calls * 1e6


def main(calls: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True).start()
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    path = f"/bot{TOKEN}/editMessageText"
    client, loop_bot, session = TelegramClient(TOKEN, base_url), LoopBot(base_url), requests.Session()
    pool = urllib3.connection_from_url(base_url, maxsize=THREADS)

    def bare_urllib3() -> object:
        headers = {"Content-Type": "application/json"}
        body = json.dumps(PARAMETERS).encode()
        return json.loads(pool.urlopen("POST", path, body=body, headers=headers, retries=False).data)

    sides: dict[str, Callable[[], object]] = {
        "bare urllib3": bare_urllib3,
        "bare requests": lambda: session.post(base_url + path, json=PARAMETERS, timeout=30).json(),
        "PTB, one event loop": loop_bot.edit,
        "TelegramClient.edit": lambda: client.edit(42, 7, PART),
    }
    for threads in (1, THREADS):
        rounds: dict[str, list[float]] = {name: [] for name in sides}
        for call in sides.values():
            cpu_microseconds(call, 2 * threads, threads)  # connect, import, fill caches
        for _ in range(ROUNDS):
            for name, call in sides.items():
                rounds[name].append(cpu_microseconds(call, max(1, calls // ROUNDS), threads))
        medians = {name: statistics.median(measured) for name, measured in rounds.items()}
        for name, microseconds in medians.items():
            ratio = microseconds / medians["bare urllib3"]
            print(f"{name:20} {threads:3} threads {microseconds:7.0f} µs CPU an edit, {ratio:.2f} of bare urllib3")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
