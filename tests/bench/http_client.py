"""CPU per call of provider.run() beside a bare requests.Session.post of the same body.

Run by `make bench`, or as python -m tests.bench.http_client [calls]. The server is another process on the loopback, so
that only the caller's CPU is counted. Both sides take turns in short rounds and the medians are compared: a busy
machine disturbs both alike.
"""

import json
import multiprocessing
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import requests

from providers.backends.openai import OpenAIText
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Prompt, Turn

ROUNDS = 20
KEY = "sk-bench-0123456789"
PROMPT = Prompt(
    Category.TEXT,
    "Explain in three sentences why the sky is blue, for a child of eight years. " * 4,
    history=(Turn("user", "Hello there, I have a question about the sky."), Turn("assistant", "Go on, please!")),
    system="You are a helpful assistant in a Telegram chat. Answer in the language of the question.",
    model="gpt-6-luna",
)
SENTENCE = "Sunlight holds all colours, and the air scatters the blue ones most."
WORDS = [*SENTENCE.split(), *SENTENCE.split()] * 4
PLAIN = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-6-luna",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": " ".join(WORDS)}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 120, "completion_tokens": 110, "total_tokens": 230},
    }
).encode()
CHUNKS = [
    b"data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"content": f"{word} "}}]}).encode()
    for word in WORDS
]
STREAM = b"".join([*CHUNKS, b'data: {"choices":[],"usage":{"prompt_tokens":120}}\n\n', b"data: [DONE]\n\n"])


def serve(listener: socket.socket) -> None:
    """Answer every POST with the same text, as a stream where the body asks for one."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve_connection, args=(connection,), daemon=True).start()


def _serve_connection(connection: socket.socket) -> None:
    reader = connection.makefile("rb")
    while (line := reader.readline()) and line:
        length = 0
        while (line := reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if b'"stream": true' in reader.read(length):
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(b"%s%x\r\n%s\r\n0\r\n\r\n" % (head, len(STREAM), STREAM))
        else:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % len(PLAIN) + PLAIN)


def cpu_microseconds(call: Callable[[], object], calls: int) -> float:
    """Return this process's CPU time for each of so many calls."""
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls * 1e6


def main(calls: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True).start()
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    provider = OpenAIText(Access(KEY, base_url))
    session = requests.Session()
    headers = {"Authorization": f"Bearer {KEY}"}
    body = provider.build(PROMPT, stream=False).json
    stream_body = provider.build(PROMPT, stream=True).json

    def bare() -> object:
        return session.post(f"{base_url}/chat/completions", json=body, headers=headers, timeout=30).json()

    def bare_stream() -> int:
        with session.post(
            f"{base_url}/chat/completions", json=stream_body, headers=headers, timeout=30, stream=True
        ) as response:
            return sum(len(json.loads(line[6:])) for line in response.iter_lines() if line[:7] == b"data: {")

    def ours() -> object:
        return OpenAIText(Access(KEY, base_url)).run(PROMPT, timeout_seconds=30, deadline=Deadline.after(90))

    def ours_stream() -> object:
        return OpenAIText(Access(KEY, base_url)).run(
            PROMPT, timeout_seconds=30, deadline=Deadline.after(90), on_text=len
        )

    sides = {
        "bare post": bare,
        "provider.run": ours,
        "bare stream": bare_stream,
        "provider.run, streaming": ours_stream,
    }
    rounds: dict[str, list[float]] = {name: [] for name in sides}
    for call in sides.values():
        cpu_microseconds(call, 20)  # connect, import, fill caches
    for _ in range(ROUNDS):
        for name, call in sides.items():
            rounds[name].append(cpu_microseconds(call, max(1, calls // ROUNDS)))
    for name, measured in rounds.items():
        print(f"{name:24} {statistics.median(measured):7.0f} µs CPU a call")
    plain = statistics.median(rounds["provider.run"]) / statistics.median(rounds["bare post"])
    streamed = statistics.median(rounds["provider.run, streaming"]) / statistics.median(rounds["bare stream"])
    print(f"ratio {plain:.2f} (streaming, {len(CHUNKS)} chunks: {streamed:.2f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
