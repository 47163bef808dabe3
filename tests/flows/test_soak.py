"""A short soak: deaths, restarts and faults for less than a minute, and the promise holds."""

import subprocess
import sys

import pytest
from django.db import connection

from tests.flows.processes import ROOT

MINUTES = "0.75"
MOST_SECONDS = 230  # the servers' start and the bounded end included; usually it takes one minute


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="it brings its own PostgreSQL, so once in `make test` is enough"
)
def test_whatever_dies_nothing_is_lost_charged_twice_or_shown_twice():
    command = [sys.executable, "-m", "tests.proof.soak", "--minutes", MINUTES, "--seed", "7"]

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as soak:
        try:
            report, _ = soak.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            soak.terminate()  # it ends its own children
            report, _ = soak.communicate()

    assert soak.returncode == 0, report
