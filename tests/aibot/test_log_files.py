"""Logs on a full disk: one line that says so, not a traceback for each line."""

import logging

import pytest

from aibot.log_files import ReopenedLog, RotatedLog


@pytest.mark.parametrize("make", [ReopenedLog, RotatedLog])
def test_a_full_disk_is_told_once(make, capsys):
    log = make("/dev/full")
    for _ in range(20):
        log.handle(logging.makeLogRecord({"msg": "a line"}))

    assert capsys.readouterr().err == "/dev/full cannot be written: No space left on device.\n"
    with pytest.raises(OSError, match="No space left"):
        log.close()


def test_a_line_that_cannot_be_formatted_is_a_bug_and_shown_as_one(tmp_path, capsys):
    log = ReopenedLog(tmp_path / "aibot.log")

    log.handle(logging.makeLogRecord({"msg": "%d", "args": ("x",)}))

    assert "TypeError" in capsys.readouterr().err
    log.close()
