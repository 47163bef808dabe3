"""The code of the last release on today's tables: after an upgrade there is a way back, and during it both work."""

import os
import subprocess
import sys
import tarfile
import tomllib
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.tools import run_database_tests

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parent.parent.parent
# What touches the tables, without what says how they must look.
FOLDERS = ["tests/flows", "tests/providers", "tests/requests_app", "tests/telegram_bot"]


def test_its_tests_pass_on_todays_tables(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    commit = project["tool"]["aibot"]["last-release-commit"]
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    assert archive.returncode == 0, f"{commit} is not here; fetch the whole history: git fetch --unshallow"
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tree:
        tree.extractall(tmp_path, filter="data")
    server = os.environ["TEST_DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as session:
        session.execute("CREATE DATABASE test_release")  # the name that the tests give to theirs
    tables = {
        "DATABASE_URL": urlsplit(server)._replace(path="/test_release").geturl(),
        "DATA_DIR": str(tmp_path / "var"),
    }
    migrate = {**os.environ, **tables, "ENV_FILE": os.devnull, "SECRET_KEY": "a-key-for-tests-only"}
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, env=migrate, check=True)

    database_url = urlsplit(server)._replace(path="/release").geturl()
    run_database_tests(*FOLDERS, database_url=database_url, folder=tmp_path)
