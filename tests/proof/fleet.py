"""The product's own processes as production runs them: the web server, workers and sweepers, which may be killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.proof.process_pool import ROOT, command_of, die_with_parent

WORKERS = 4
SWEEPERS = 2
GOODBYE_SECONDS = 30.0  # for a process that was asked to end; its calls end long before
LOOK_SECONDS = 0.1  # between two looks whether everybody lives


@dataclass
class Post:
    """One place in the fleet, and the process that fills it at present."""

    kind: str  # "worker" or "sweeper"
    number: int
    process_id: int = 0
    vacant_until: float = 0.0  # on time.monotonic(); whoever is killed is missed for a moment


class Fleet:
    """Starts the processes and replaces those that die."""

    def __init__(self, environment: Mapping[str, str], folder: Path, *, port: int) -> None:
        self.posts = [Post("worker", number) for number in range(WORKERS)]
        self.posts += [Post("sweeper", number) for number in range(SWEEPERS)]
        self.started = 0
        self._environment, self._folder, self._port = dict(environment), folder, port
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._nursery: subprocess.Popen[str] | None = None
        self._web: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name="fleet", daemon=True)

    def begin(self) -> None:
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.proof.process_pool"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log("nursery"),
            text=True,
        )
        # The Procfile's server listens to the whole network; this one to the machine.
        command = command_of("web").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        self._web = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=ROOT,
            env={**self._environment, "PORT": str(self._port)},
            stdout=self._log("web"),
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        self._keeper.start()

    def close(self) -> None:
        """Kill everything that is left."""
        self._is_over.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for post in self.posts:
            _signal(post.process_id, signal.SIGKILL)
        web_children = self.web_workers()
        for process in (self._web, self._nursery):
            if process:
                process.kill()
                process.wait()
        for process_id in web_children:
            _signal(process_id, signal.SIGKILL)

    def alive(self, kind: str) -> list[Post]:
        return [post for post in self.posts if post.kind == kind and _is_alive(post.process_id)]

    def web_workers(self) -> list[int]:
        """Return the processes that answer, which the web server itself replaces."""
        with suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self._web.pid).children()] if self._web else []
        return []

    def kill(self, post: Post, *, vacant_seconds: float) -> None:
        """kill -9, and leave the place empty for a moment."""
        with self._lock:
            post.vacant_until = time.monotonic() + vacant_seconds
            _signal(post.process_id, signal.SIGKILL)

    def freeze(self, post: Post, seconds: float) -> None:
        """Stop a process in the middle of whatever it does, and let it go on later as if nothing had been."""
        process_id = post.process_id
        _signal(process_id, signal.SIGSTOP)
        thaw = threading.Timer(seconds, _signal, (process_id, signal.SIGCONT))
        thaw.daemon = True
        thaw.start()

    def kill_process(self, process_id: int) -> None:
        """kill -9 one of web_workers()."""
        _signal(process_id, signal.SIGKILL)

    def dismiss(self) -> list[int]:
        """Ask everybody to end, as a deploy does, while their successors start; return those that had to be killed."""
        with self._lock:
            leaving = [post.process_id for post in self.posts]
            for post in self.posts:
                _signal(post.process_id, signal.SIGTERM)
                post.process_id = 0
        if self._web:
            self._web.send_signal(signal.SIGHUP)  # its workers end in order, new ones follow
        return self._bury(leaving)

    def retire(self) -> list[int]:
        """End for good and in order; return those that had to be killed."""
        self._is_over.set()
        self._keeper.join()
        leaving = [post.process_id for post in self.posts]
        for process_id in leaving:
            _signal(process_id, signal.SIGCONT)
            _signal(process_id, signal.SIGTERM)
        return self._bury(leaving)

    def _bury(self, leaving: list[int]) -> list[int]:
        """Wait for the end of these, and kill those that do not come to it."""
        patience = time.monotonic() + GOODBYE_SECONDS
        while any(map(_is_alive, leaving)) and time.monotonic() < patience:
            time.sleep(LOOK_SECONDS)
        stuck = [process_id for process_id in leaving if _is_alive(process_id)]
        for process_id in stuck:
            _signal(process_id, signal.SIGKILL)
        return stuck

    def _keep(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            with self._lock:
                for post in self.posts:
                    if time.monotonic() >= post.vacant_until and not _is_alive(post.process_id):
                        post.process_id = self._start(post)
                        self.started += 1

    def _start(self, post: Post) -> int:
        assert self._nursery
        assert self._nursery.stdin
        assert self._nursery.stdout
        self._nursery.stdin.write(f"{post.kind} {self._folder / post.kind}-{post.number}.log\n")
        self._nursery.stdin.flush()
        return int(self._nursery.stdout.readline())

    def _log(self, name: str) -> int:
        return os.open(self._folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _is_alive(process_id: int) -> bool:
    return process_id > 0 and psutil.pid_exists(process_id)


def _signal(process_id: int, number: signal.Signals) -> None:
    """Signal one of our own processes, where it still is."""
    if process_id > 0:
        with suppress(ProcessLookupError):
            os.kill(process_id, number)
