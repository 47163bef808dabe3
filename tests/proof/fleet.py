"""The product's own processes as production runs them: the web server, workers and sweepers, which may be killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.proof.process_pool import ROOT, command_of, die_with_parent
from tests.wrong_clock import clock_variables

SLOTS = {"worker": 3, "worker-chat": 1, "sweeper": 2}
EMBEDDED_SLOTS = {"worker": 1, "worker-chat": 1, "sweeper": 1}  # as `manage.py run` starts them
SHUTDOWN_SECONDS = 30.0  # for a process after SIGTERM; its calls end long before
CHECK_SECONDS = 0.1  # between two checks for processes that have ended


@dataclass
class ProcessSlot:
    """One place in the fleet, and the process that fills it at present."""

    kind: str  # "worker", "worker-chat" or "sweeper"
    number: int
    clock: str = ""  # how much its machine's clock is off, such as "+40s"
    process_id: int = 0
    vacant_until: float = 0.0  # on time.monotonic(); a killed process is replaced a moment later


class Fleet:
    """Starts the processes and replaces those that end."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        *,
        port: int,
        slots: Mapping[str, int] = SLOTS,
        clocks: Sequence[str] = ("",),
    ) -> None:
        """The processes of each kind have these `clocks` in turn."""
        self.slots = [
            ProcessSlot(kind, number, clocks[number % len(clocks)])
            for kind, count in slots.items()
            for number in range(count)
        ]
        self.started = 0
        self._environment, self._folder, self._port = dict(environment), folder, port
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._process_pools: dict[str, subprocess.Popen[str]] = {}  # by clock
        self._web: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep_alive, name="fleet", daemon=True)

    def start(self) -> None:
        for clock in {slot.clock for slot in self.slots}:
            self._process_pools[clock] = subprocess.Popen(
                [sys.executable, "-m", "tests.proof.process_pool"],
                cwd=ROOT,
                env=self._environment | (clock_variables(clock) if clock else {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log("process_pool"),
                text=True,
            )
        self._web = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command_of('web')}"],
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
        for slot in self.slots:
            _signal(slot.process_id, signal.SIGKILL)
        web_children = self.web_workers()
        for process in (self._web, *self._process_pools.values()):
            if process:
                process.kill()
                process.wait()
        for process_id in web_children:
            _signal(process_id, signal.SIGKILL)

    def alive(self, kind: str) -> list[ProcessSlot]:
        """Return the running processes of a kind; a "worker-chat" is a worker, too."""
        return [slot for slot in self.slots if slot.kind.startswith(kind) and _is_alive(slot.process_id)]

    def web_workers(self) -> list[int]:
        """Return the ids of the web server's worker processes, which it replaces itself."""
        with suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self._web.pid).children()] if self._web else []
        return []

    def kill(self, slot: ProcessSlot, *, vacant_seconds: float) -> None:
        """Send SIGKILL, and leave the slot empty for a moment."""
        with self._lock:
            slot.vacant_until = time.monotonic() + vacant_seconds
            _signal(slot.process_id, signal.SIGKILL)

    def pause(self, slot: ProcessSlot, seconds: float) -> None:
        """Send SIGSTOP, and SIGCONT so many seconds later."""
        process_id = slot.process_id
        _signal(process_id, signal.SIGSTOP)
        thaw = threading.Timer(seconds, _signal, (process_id, signal.SIGCONT))
        thaw.daemon = True
        thaw.start()

    def kill_process(self, process_id: int) -> None:
        """Send SIGKILL to one of web_workers()."""
        _signal(process_id, signal.SIGKILL)

    def deploy(self) -> list[int]:
        """Replace every process, ended by SIGTERM as in a deploy; return the ids of those that had to be killed."""
        with self._lock:
            leaving = [slot.process_id for slot in self.slots]
            for slot in self.slots:
                _signal(slot.process_id, signal.SIGTERM)
                slot.process_id = 0
        if self._web:
            self._web.send_signal(signal.SIGHUP)  # its workers shut down, and new ones follow
        return self._wait_for_exit(leaving)

    def shut_down(self) -> list[int]:
        """End every process with SIGTERM and start none; return the ids of those that had to be killed."""
        self._is_over.set()
        self._keeper.join()
        leaving = [slot.process_id for slot in self.slots]
        for process_id in leaving:
            _signal(process_id, signal.SIGCONT)
            _signal(process_id, signal.SIGTERM)
        return self._wait_for_exit(leaving)

    def _wait_for_exit(self, leaving: list[int]) -> list[int]:
        """Wait until these have ended, and kill those that do not."""
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while any(map(_is_alive, leaving)) and time.monotonic() < deadline:
            time.sleep(CHECK_SECONDS)
        stuck = [process_id for process_id in leaving if _is_alive(process_id)]
        for process_id in stuck:
            _signal(process_id, signal.SIGKILL)
        return stuck

    def _keep_alive(self) -> None:
        while not self._is_over.wait(CHECK_SECONDS):
            with self._lock:
                for slot in self.slots:
                    if time.monotonic() >= slot.vacant_until and not _is_alive(slot.process_id):
                        slot.process_id = self._start(slot)
                        self.started += 1

    def _start(self, slot: ProcessSlot) -> int:
        process_pool = self._process_pools[slot.clock]
        assert process_pool.stdin
        assert process_pool.stdout
        process_pool.stdin.write(f"{slot.kind} {self._folder / slot.kind}-{slot.number}.log\n")
        process_pool.stdin.flush()
        return int(process_pool.stdout.readline())

    def _log(self, name: str) -> int:
        return os.open(self._folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _is_alive(process_id: int) -> bool:
    return process_id > 0 and psutil.pid_exists(process_id)


def _signal(process_id: int, number: signal.Signals) -> None:
    """Signal one of our own processes, if it still exists."""
    if process_id > 0:
        with suppress(ProcessLookupError):
            os.kill(process_id, number)
