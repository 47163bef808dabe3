"""Programs of the operating system that these tests run."""

import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def program(name: str, *, package: str) -> str:
    """Return the path of a program; fail and say which Debian package brings it where it is not installed."""
    path = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    return path or _fail(name, package)


def library(pattern: str, *, package: str) -> str:
    """Return the path of a shared library below /usr/lib, and fail likewise without one."""
    found = sorted(Path("/usr/lib").glob(f"**/{pattern}"))
    return str(found[0]) if found else _fail(pattern, package)


def _fail(name: str, package: str) -> NoReturn:
    pytest.fail(f"{name} is not installed, so this was not tried. On Debian and Ubuntu: apt-get install {package}")
