"""Several processes in one terminal: their output line by line, and one that dies is started again."""

import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from django.conf import settings

from aibot.log_files import RotatedLog

CHECK_SECONDS = 0.1
MIN_PAUSE_SECONDS = 1.0  # before a process that has died is started again
MAX_PAUSE_SECONDS = 30.0
LONG_ENOUGH_SECONDS = 60.0  # a process that has lived so long begins with the shortest pause again
MAX_LOG_BYTES = 10 * 1024 * 1024
KEPT_LOGS = 5  # full ones beside the current one
STOP_SECONDS = 5.0  # for a process after SIGTERM; then it is killed
# Where Linux's setpriv is there, the processes end with this one, even where it is killed.
WITH_PARENT = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


@dataclass
class Child:
    """One process, and when it is started again."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0  # time.monotonic()
    start_at: float = 0.0  # not before
    pause_seconds: float = MIN_PAUSE_SECONDS


class Supervisor:
    """Runs commands until stop(), and starts each again that ends by itself, with exponential backoff."""

    def __init__(self, commands: Mapping[str, Sequence[str]], output: TextIO, log: Path | None = None) -> None:
        """`log` is a file that gets the same lines; it is rotated."""
        self._log = RotatedLog(log, maxBytes=MAX_LOG_BYTES, backupCount=KEPT_LOGS) if log else None
        self._children = [Child(name, command) for name, command in commands.items()]
        self._width = max(map(len, commands))
        self._output: TextIO | None = output
        self._output_lock = threading.Lock()
        self._is_over = threading.Event()

    def stop(self) -> None:
        """End everything. May be called in a signal handler, and more than once."""
        self._is_over.set()

    def run(self) -> None:
        """Run the processes, and return once stop() was called and all have ended."""
        try:
            while not self._is_over.is_set():
                for child in self._children:
                    self._look_after(child)
                # Not the Event's wait(), which a signal handler that sets the event could interrupt while it is locked.
                time.sleep(CHECK_SECONDS)
        finally:
            self._end_all()

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_at:
                self._start(child)
        elif child.process.poll() is not None:
            if now - child.started_at > LONG_ENOUGH_SECONDS:
                child.pause_seconds = MIN_PAUSE_SECONDS
            self._print(
                child.name,
                f"ended by itself (exit code {child.process.returncode}); starting it again in "
                f"{child.pause_seconds:.0f} s",
            )
            child.process, child.start_at = None, now + child.pause_seconds
            child.pause_seconds = min(2 * child.pause_seconds, MAX_PAUSE_SECONDS)

    def _start(self, child: Child) -> None:
        child.started_at = time.monotonic()
        # In a session of its own: Ctrl-C reaches this process only, which then ends the others in order.
        child.process = subprocess.Popen(  # noqa: S603 — our own commands
            [*WITH_PARENT, *child.command],
            cwd=settings.BASE_DIR,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._copy_output, args=(child.name, child.process), daemon=True).start()

    def _copy_output(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout  # noqa: S101 — for the type checker
        with process.stdout:
            for line in process.stdout:
                self._print(name, line.rstrip("\n"))

    def _print(self, name: str, text: str) -> None:
        """Print a line; where the terminal is gone, end everything, for nobody can any more."""
        line = f"{name:<{self._width}} | {text}"
        with self._output_lock:
            if self._log:
                self._log.handle(logging.makeLogRecord({"msg": line}))
            if self._output is None:
                return
            try:
                print(line, file=self._output, flush=True)
            except (OSError, ValueError):
                self._output = None
                self.stop()

    def _end_all(self) -> None:
        """Ask all processes to end, and kill those that do not."""
        running = [child.process for child in self._children if child.process and child.process.poll() is None]
        for process in running:
            process.terminate()
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until and any(process.poll() is None for process in running):
            time.sleep(CHECK_SECONDS)
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()
