"""`make run`: everything starts from an empty environment, a prompt is answered, and no process is left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from aibot.env import RENAMED_VARIABLES
from aibot.firstrun import write_env_file

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_START_SECONDS = 60  # generous, for a loaded machine; usually it takes three
MAX_STOP_SECONDS = 20  # usually it takes four

# Its processes have their own database and broker, so a second run on other servers would show nothing new.
embedded_only = pytest.mark.skipif(
    bool(os.environ.get("TEST_DATABASE_URL")), reason="make run has its own database; the run on SQLite covers it"
)


@dataclass
class Running:
    """A started `manage.py run`."""

    process: subprocess.Popen[bytes]
    output: Path
    environment: dict[str, str]
    web_url: str
    sandbox_url: str

    @property
    def text(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_until(self, condition: Callable[[], object], description: str, seconds: float = MAX_START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"timed out: {description}\n{self.text}"
            time.sleep(0.05)

    def answers(self, url: str) -> bool:
        assert self.process.poll() is None, self.text
        try:
            return requests.get(url, timeout=5).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    def wait_until_up(self) -> list[psutil.Process]:
        """Return all of its processes, once they are up."""
        self.wait_until(lambda: self.answers(f"{self.web_url}/healthz"), "the web process answers")
        self.wait_until(lambda: self.answers(f"{self.sandbox_url}/_sandbox/faults"), "the sandbox answers")
        self.wait_until(lambda: "Sweeping every" in self.text, "the sweeper sweeps")
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def started(folder: Path, **variables: str) -> Iterator[Running]:
    """Run `manage.py run` in a new user's environment, on free ports."""
    web_port, sandbox_port = free_port(), free_port()
    env_file = folder / "env"
    write_env_file(env_file, ROOT / ".env.example")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ENV_FILE": str(env_file),
        "DATA_DIR": str(folder / "data"),
        "PORT": str(web_port),
        "SANDBOX_URL": f"http://127.0.0.1:{sandbox_port}",
        **variables,
    }
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run"], cwd=ROOT, env=environment, stdout=file, stderr=file
        )
    try:
        yield Running(process, output, environment, f"http://127.0.0.1:{web_port}", environment["SANDBOX_URL"])
    finally:
        for child in (*psutil.Process(process.pid).children(recursive=True), process) if process.poll() is None else ():
            child.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@embedded_only
@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGHUP])  # a hang-up is forwarded as SIGTERM
def test_everything_starts_answers_and_stops(tmp_path, stop_signal):
    with started(tmp_path) as run:
        processes = run.wait_until_up()
        assert "so the SANDBOX answers" in run.text
        assert "user admin, password" in run.text
        if stop_signal == signal.SIGINT:
            ask = [sys.executable, "manage.py", "ask", "TEXT", "Say hello"]
            done = subprocess.run(ask, cwd=ROOT, env=run.environment, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert "in place of AIMLAPI" in done.stdout

        run.process.send_signal(stop_signal)

        run.wait_until(lambda: run.process.poll() is not None, "it stops", MAX_STOP_SECONDS)
        assert run.process.returncode == 0, run.text
        assert "Everything has ended." in run.text
        combined = Path(run.environment["DATA_DIR"], "logs", "combined.log").read_text(encoding="utf-8")
        assert re.search(r"^sweeper .*Sweeping every", combined, re.MULTILINE)
        _, left = psutil.wait_procs(processes, timeout=1)
        assert left == []


@embedded_only
def test_a_second_one_in_the_same_folder_is_refused_and_a_killed_one_leaves_nobody(tmp_path):
    with started(tmp_path) as run:
        processes = run.wait_until_up()
        second = {**run.environment, "PORT": str(free_port()), "SANDBOX_URL": f"http://127.0.0.1:{free_port()}"}
        done = subprocess.run(
            [sys.executable, "manage.py", "run"], cwd=ROOT, env=second, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert f"is in use (process {run.process.pid}, {run.web_url.replace('127.0.0.1', 'localhost')}" in done.stderr
        real = {**run.environment, "OPENAI_API_KEY": "an-invented-key"}
        ask = [sys.executable, "manage.py", "ask", "TEXT", "Say hello"]
        done = subprocess.run(ask, cwd=ROOT, env=real, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "is in use with other settings" in done.stderr

        run.process.kill()

        _, left = psutil.wait_procs(processes, timeout=MAX_STOP_SECONDS)
        assert left == []


@embedded_only
def test_a_process_that_dies_is_started_again_and_a_line_says_which(tmp_path):
    with started(tmp_path) as run:
        processes = run.wait_until_up()
        for name in ("sandbox", "worker"):
            victim = next(
                process for process in processes if name in process.cmdline() and "-Q" not in process.cmdline()
            )

            victim.kill()

            line = f"{name:<11} | ended by itself (exit code -9); starting it again in 1 s"
            run.wait_until(lambda line=line: line in run.text, f"the line about {name}")
        run.wait_until(lambda: run.answers(f"{run.sandbox_url}/_sandbox/faults"), "the sandbox answers again")
        run.process.send_signal(signal.SIGTERM)
        run.wait_until(lambda: run.process.poll() is not None, "it stops", MAX_STOP_SECONDS)
        assert run.process.returncode == 0, run.text


@embedded_only
@pytest.mark.parametrize("variable", ["PORT", "SANDBOX_URL"])
def test_a_port_in_use_is_one_line_that_says_what_to_do(tmp_path, variable):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        value = {"PORT": str(port), "SANDBOX_URL": f"http://127.0.0.1:{port}"}[variable]
        with started(tmp_path, **{variable: value}) as run:
            code = run.process.wait(MAX_START_SECONDS)

    assert code == 1
    assert run.text.count("\n") == 1
    assert f"Port {port} of 127.0.0.1 is not free" in run.text
    assert f"choose another: {variable}=" in run.text


def test_the_first_run_writes_an_env_file_for_this_machine_only_once(tmp_path):
    path = tmp_path / ".env"

    assert write_env_file(path, ROOT / ".env.example") is True
    content = path.read_text()
    assert write_env_file(path, ROOT / ".env.example") is False

    assert path.read_text() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert "\nDEBUG=True\n" in content
    assert "\nSANDBOX_URL=http://127.0.0.1:8090\n" in content
    (key,) = [line.removeprefix("SECRET_KEY=") for line in content.splitlines() if line.startswith("SECRET_KEY=")]
    assert len(key) >= 50


def test_the_example_lists_every_variable_that_the_settings_read(tmp_path):
    example = (ROOT / ".env.example").read_text()
    named = {line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")}

    assert read_by_the_settings(tmp_path) - {"ENV_FILE", *RENAMED_VARIABLES} == named


def read_by_the_settings(folder: Path) -> set[str]:
    """Return the variables that the settings read."""
    script = "import aibot.settings; from aibot import env; print(*env._read_variables)"
    environment = {"PATH": os.environ["PATH"], "SECRET_KEY": "x", "ENV_FILE": os.devnull, "DATA_DIR": str(folder)}
    # With a PostgreSQL URL the variables for PostgreSQL are read as well.
    environment["DATABASE_URL"] = "postgres://a:b@localhost/c"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    names = set(done.stdout.split())
    return names - {f"{name}_FILE" for name in names}  # where a secret may be instead
