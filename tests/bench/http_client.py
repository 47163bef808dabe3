"""CPU per call of provider.run() beside a bare requests.Session.post of the same body, and beside its floors.

Run by `make bench`, or as python -m tests.bench.http_client [calls]. The server is another process on the loopback, so
that only the caller's CPU is counted. All sides take turns in short rounds and the medians are compared: a busy machine
disturbs all alike. The floors are a loop around urllib3, and the fastest peer, TensorZero's embedded gateway, which
needs an environment of its own: TENSORZERO_PYTHON names its Python.
"""

import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import requests
import urllib3

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


@contextmanager
def tensorzero(base_url: str, body: dict[str, Any]) -> Iterator[Callable[[int], float] | None]:
    """Yield a function that measures so many calls by TensorZero; None where it is not installed."""
    python = os.environ.get("TENSORZERO_PYTHON")
    if not python:
        print(
            "TensorZero is not measured. To do so: python3 -m venv tensorzero; tensorzero/bin/pip install tensorzero; "
            "TENSORZERO_PYTHON=tensorzero/bin/python make bench"
        )
        yield None
        return
    system, *messages = body["messages"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as prompt:
        json.dump({"system": system["content"], "messages": messages}, prompt)
        prompt.flush()
        command = [python, str(Path(__file__).with_name("peer_tensorzero.py")), base_url, body["model"], prompt.name]
        environment = {**os.environ, "RUST_LOG": "off"}  # it logs to its standard output
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as peer:
            assert peer.stdin
            assert peer.stdout
            ask, answers = peer.stdin, peer.stdout

            def measure(calls: int) -> float:
                ask.write(f"{calls}\n")
                ask.flush()
                return float(answers.readline())

            yield measure
            ask.close()


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

    pool = urllib3.PoolManager()

    def floor() -> object:
        return json.loads(
            pool.request(
                "POST",
                f"{base_url}/chat/completions",
                body=json.dumps(body).encode(),
                headers={**headers, "Content-Type": "application/json"},
            ).data
        )

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
        "bare urllib3": floor,
        "provider.run": ours,
        "bare stream": bare_stream,
        "provider.run, streaming": ours_stream,
    }
    with tensorzero(base_url, body) as peer:
        measures = {name: partial(cpu_microseconds, call) for name, call in sides.items()}
        if peer:
            measures["TensorZero, embedded"] = peer
        for measure in measures.values():
            measure(20)  # connect, import, fill caches
        rounds = [{name: measure(max(1, calls // ROUNDS)) for name, measure in measures.items()} for _ in range(ROUNDS)]
    for name in measures:
        cpu = statistics.median(figures[name] for figures in rounds)
        bare_name = "bare stream" if "stream" in name else "bare post"
        ratio = statistics.median(figures[name] / figures[bare_name] for figures in rounds)
        print(f"{name:24} {cpu:7.0f} µs CPU a call, {ratio:.2f}x of the {bare_name}")
    print(f"A stream has {len(CHUNKS)} chunks.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
