"""The tests' own PostgreSQL and Valkey: they work, stop with the command, and its exit code is passed on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
USE_BOTH = (
    "import os, psycopg, redis, sys;"
    "version = psycopg.connect(os.environ['TEST_DATABASE_URL']).execute('show server_version').fetchone()[0];"
    "assert int(version.split('.')[0]) >= 17, version;"
    "assert redis.Redis.from_url(os.environ['TEST_REDIS_URL']).ping();"
    "sys.exit(7)"
)

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("TEST_DATABASE_URL")), reason="this run has its servers already, so it cannot see them start"
)


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-m", "tests.servers", *command]
    return subprocess.Popen(arguments, cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(folder)})


def test_a_command_reaches_both_servers_and_its_exit_code_is_passed_on(tmp_path):
    assert start(tmp_path, "python", "-c", USE_BOTH).wait(60) == 7


def test_sigterm_stops_the_command_and_the_servers(tmp_path):
    started = tmp_path / "started"
    wrapper = start(tmp_path, "python", "-c", f"import time; open({str(started)!r}, 'w'); time.sleep(60)")
    deadline = time.monotonic() + 60
    while not started.exists():
        assert wrapper.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes = psutil.Process(wrapper.pid).children(recursive=True)
    assert {process.name() for process in processes} >= {"postgres", "valkey-server"}

    wrapper.send_signal(signal.SIGTERM)

    assert wrapper.wait(30) == 143
    _, left = psutil.wait_procs(processes, timeout=1)
    assert left == []
