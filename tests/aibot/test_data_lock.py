"""The lock on DATA_DIR: who agrees shares it, anybody else is refused with what to do."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from aibot import data_lock


@pytest.fixture(autouse=True)
def data_dir(settings, monkeypatch, tmp_path) -> Iterator[Path]:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(data_lock, "_held", None)
    yield tmp_path
    if data_lock._held:
        data_lock._held.close()


@pytest.fixture
def another(data_dir, settings) -> Iterator[subprocess.Popen[str]]:
    """Another process that has joined, with the settings of this one."""
    code = (
        "import fcntl, json, sys; file = open(sys.argv[1], 'a+'); fcntl.flock(file, fcntl.LOCK_SH); "
        "json.dump(json.loads(sys.argv[2]), file); file.flush(); print('held', flush=True); input()"
    )
    record = {**data_lock._agreement(), "process": 123, "port": 8500}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(data_dir / data_lock.FILE_NAME), json.dumps(record)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_agrees_joins(another):
    data_lock.join_data_dir()
    data_lock.join_data_dir()

    assert data_lock._held is not None


@pytest.mark.parametrize("change", ["sandbox", "database"])
def test_who_disagrees_is_refused_and_told_what_to_do(another, settings, monkeypatch, change):
    if change == "sandbox":
        settings.SANDBOX_ACTIVE = not settings.SANDBOX_ACTIVE
    else:
        monkeypatch.setitem(settings.DATABASES["default"], "NAME", "another")

    with pytest.raises(ImproperlyConfigured, match=r"in use with other settings .*process 123, http://localhost:8500"):
        data_lock.join_data_dir()

    another.kill()
    another.wait()
    data_lock.join_data_dir()


def test_on_a_full_disk_nobody_waits_and_nobody_is_refused(data_dir, monkeypatch, caplog):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(data_lock.os, "ftruncate", full)
        data_lock.join_data_dir()
    first, data_lock._held = data_lock._held, None

    data_lock.join_data_dir()

    assert "No space left on device" in caplog.text
    assert first
    first.close()


def test_a_file_that_says_nothing_is_no_reason_to_refuse(another, data_dir):
    (data_dir / data_lock.FILE_NAME).write_text("", encoding="utf-8")

    data_lock.join_data_dir()


def test_a_process_that_froze_while_it_took_the_lock_is_not_waited_for(data_dir, monkeypatch):
    monkeypatch.setattr(data_lock, "SHARE_SECONDS", 0.1)
    with (data_dir / data_lock.FILE_NAME).open("a+b") as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)

        with pytest.raises(ImproperlyConfigured, match="is being taken by another process"):
            data_lock.join_data_dir()


def test_a_second_run_in_one_folder_is_refused(another):
    with pytest.raises(ImproperlyConfigured, match=r"is in use .*Stop it first, or set another DATA_DIR"):
        data_lock.begin_data_dir(8600)


def test_the_port_is_known_to_all(data_dir):
    assert data_lock.port_in_use(data_dir) is None

    data_lock.begin_data_dir(8500)

    assert data_lock.port_in_use(data_dir) == 8500
    (data_dir / data_lock.FILE_NAME).write_text("{", encoding="utf-8")
    assert data_lock.port_in_use(data_dir) is None


def test_what_is_left_of_a_dead_process_holds_nobody_up(data_dir):
    (data_dir / data_lock.FILE_NAME).write_text('{"sandbox": true, "database": "gone", "port": 1}', encoding="utf-8")

    data_lock.join_data_dir()

    assert json.loads((data_dir / data_lock.FILE_NAME).read_text())["process"] == os.getpid()
    assert data_lock.port_in_use(data_dir) is None
