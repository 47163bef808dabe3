"""Programs of the operating system that these tests run."""

import shutil

import pytest


def program(name: str, *, package: str) -> str:
    """Return the path of a program; fail and say which Debian package brings it where it is not installed."""
    return require(shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"), name, package=package)


def require(path: str | None, name: str, *, package: str) -> str:
    """Return the path where there is one, and fail likewise without."""
    return path or pytest.fail(
        f"{name} is not installed, so this was not tried. On Debian and Ubuntu: apt-get install {package}"
    )
