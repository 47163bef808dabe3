"""`manage.py backup FOLDER`: the database and the media, each read back before it counts as a backup."""

import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from requests_app.models import Request

NAME = "aibot-"  # what every backup's name begins with
BACKUP = re.compile(r"aibot-\d{8}T\d{6}Z(\.dump|\.sqlite3|-media\.tar)")  # nothing else in the folder is deleted
OUR_TABLE = Request._meta.db_table
PART = ".part"  # at the end of a file that is being written
DAY_SECONDS = 86_400
SSL = ("sslmode", "sslrootcert", "sslcert", "sslkey")  # options of DATABASE_URL that PostgreSQL's programs need, too


class Command(BaseCommand):
    help = (
        "Back up the database and the media into a folder and read both back; then delete backups that are too old. "
        "Media in a bucket are not copied: the store keeps its own versions."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="An existing folder, best on another disk.")
        parser.add_argument("--keep-days", type=_days, default=14, help="How old a backup may become (14).")

    def handle(self, *args: Any, folder: Path, keep_days: int, **options: Any) -> None:
        if not folder.is_dir():
            raise CommandError(f"{folder} is no folder. Create it, best on another disk.")
        _refuse_a_database_that_is_not_ours()
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        try:
            if connection.vendor == "postgresql":
                self._write(folder / f"{NAME}{stamp}.dump", _dump_postgresql, _read_dump)
            else:
                self._write(folder / f"{NAME}{stamp}.sqlite3", _copy_sqlite, _read_sqlite)
            if not settings.S3_BUCKET:
                self._write(folder / f"{NAME}{stamp}-media.tar", _archive_media, _read_archive)
            _delete_old(folder, keep_days)
        except (OSError, sqlite3.Error, tarfile.TarError) as error:
            raise CommandError(f"No backup was made, and none was deleted: {error}") from error

    def _write(self, path: Path, write: Callable[[Path], None], read: Callable[[Path], None]) -> None:
        """Write a file under a name of its own, read it back, and only then give it its name."""
        part = path.with_name(path.name + PART)
        if path.exists() or part.exists():
            raise CommandError(f"{path} is there, or is being written. Try again in a second.")
        try:
            write(part)
            read(part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        self.stdout.write(f"{path}: {path.stat().st_size:,} bytes, read back")


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("at least 1: the backup that is made now would be deleted at once")
    return int(text)


def _refuse_a_database_that_is_not_ours() -> None:
    """Raise CommandError where there is nothing to back up: old backups would be deleted in favour of nothing."""
    if OUR_TABLE not in (_tables_of_sqlite() if connection.vendor == "sqlite" else _tables()):
        raise CommandError("The database has no tables of this service. Check DATABASE_URL, or run manage.py migrate.")


def _tables() -> list[str]:
    return connection.introspection.table_names()


def _tables_of_sqlite() -> list[str]:
    """Return the tables of the file, which is not made by looking."""
    name = settings.DATABASES["default"]["NAME"]
    if not Path(name).is_file():
        raise CommandError(f"There is no database at {name}. Check DATA_DIR and DATABASE_URL.")
    with closing(sqlite3.connect(name)) as database:
        return [table for (table,) in database.execute("SELECT name FROM sqlite_master")]


def _dump_postgresql(path: Path) -> None:
    _run("pg_dump", "--format=custom", "--no-owner", "--file", path, "--dbname", settings.DATABASES["default"]["NAME"])


def _read_dump(path: Path) -> None:
    _run("pg_restore", "--file", os.devnull, path)


def _run(program: str, *arguments: str | Path) -> None:
    """Run one of PostgreSQL's programs. The password goes into its environment, which other users do not see."""
    database = settings.DATABASES["default"]
    variables = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD"}
    known = {name: str(database[key]) for name, key in variables.items() if database.get(key)}
    options = {f"PG{name.upper()}": str(settings.URL_OPTIONS[name]) for name in SSL if name in settings.URL_OPTIONS}
    if shutil.which(program) is None:
        raise CommandError(f"{program} is not installed: apt-get install postgresql-client")
    done = subprocess.run(  # noqa: S603 — our own command
        [program, *arguments], env={**os.environ, **known, **options}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandError(f"{program} failed, so there is no backup: {done.stderr.strip()}")


def _copy_sqlite(path: Path) -> None:
    name = settings.DATABASES["default"]["NAME"]
    with closing(sqlite3.connect(name)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)


def _read_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as copy:
        (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise CommandError(f"The copy of the database is damaged: {verdict}")


def _archive_media(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for file in sorted(settings.MEDIA_ROOT.rglob("*")):
            # A file that is being written now is in the next backup; one may be deleted meanwhile.
            if file.is_file() and file.suffix != PART:
                with suppress(FileNotFoundError):
                    archive.add(file, file.relative_to(settings.MEDIA_ROOT))


def _read_archive(path: Path) -> None:
    with tarfile.open(path) as archive:
        for entry in archive:
            if entry.isfile():
                content = archive.extractfile(entry)
                while content and content.read(1024 * 1024):
                    pass


def _delete_old(folder: Path, keep_days: int) -> None:
    for path in folder.iterdir():
        is_backup = BACKUP.fullmatch(path.name) and path.is_file()
        if is_backup and path.stat().st_mtime < time.time() - keep_days * DAY_SECONDS:
            path.unlink(missing_ok=True)
