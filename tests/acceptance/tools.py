"""Programs that these tests run: those of the operating system, and the suite on a database of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def program(name: str, *, package: str) -> str:
    """Return the path of a program; fail and say which Debian package brings it where it is not installed."""
    return require(shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"), name, package=package)


def require(path: str | None, name: str, *, package: str) -> str:
    """Return the path where there is one, and fail likewise without."""
    return path or pytest.fail(
        f"{name} is not installed, so this was not tried. On Debian and Ubuntu: apt-get install {package}"
    )


def run_database_tests(*options: str, database_url: str, folder: Path) -> None:
    """Run the tests of this checkout that open the database; fail with the end of what they print.

    Their database is kept: the connections that a pooler holds would keep it from being dropped.
    """
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "--database-only", "--reuse-db", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "TEST_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert suite.returncode == 0, suite.stdout[-20_000:]
