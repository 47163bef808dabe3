"""A short soak: kills, restarts and faults for less than a minute, and the promise holds."""

import signal
import subprocess
import sys

import psutil
import pytest
from django.db import connection

from tests.flows.processes import ROOT, wait_until

COMMAND = [sys.executable, "-m", "tests.proof.soak", "--seed", "7", "--right-clocks", "--minutes"]
MINUTES = "0.75"
MAX_SECONDS = 230  # including the start of the servers and the bounded end; usually it takes one minute


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it has its own PostgreSQL, so once in `make test` is enough")
def test_whatever_is_killed_nothing_is_lost_charged_twice_or_shown_twice():
    with subprocess.Popen(
        [*COMMAND, MINUTES], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as soak:
        try:
            report, _ = soak.communicate(timeout=MAX_SECONDS)
        except subprocess.TimeoutExpired:
            soak.terminate()  # it ends its own children
            report, _ = soak.communicate()

    assert soak.returncode == 0, report


@pytest.mark.parametrize(("stop_signal", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_soak_that_is_stopped_takes_all_its_processes_with_it(stop_signal, code):
    with subprocess.Popen([*COMMAND, "5"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as soak:
        process = psutil.Process(soak.pid)
        try:
            # two PostgreSQL servers and their relay, Valkey, gunicorn and the process pool, with their own children
            wait_until(lambda: len(process.children()) >= 6 and len(process.children(recursive=True)) > 12, "the fleet")
            children = process.children(recursive=True)
        finally:
            soak.send_signal(stop_signal)
        assert soak.wait(60) == code

    _, left = psutil.wait_procs(children, timeout=5)
    assert left == []
