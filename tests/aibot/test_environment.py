"""A wrong variable stops the start with its name and what to type, and never with its value if that is a secret."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from aibot.env import RENAMED_VARIABLES, env_bool, env_int, env_secret, env_url
from aibot.redaction import RedactingFormatter

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("text", ["true", "1", "yes", "Flase"])
def test_a_boolean_is_exactly_true_or_false(monkeypatch, text):
    monkeypatch.setenv("DEBUG", text)

    with pytest.raises(ImproperlyConfigured, match="DEBUG must be True or False"):
        env_bool("DEBUG", default=False)


@pytest.mark.parametrize("text", ["-1", "1.5", "ten", "0"])
def test_a_number_is_whole_and_large_enough(monkeypatch, text):
    monkeypatch.setenv("SWEEP_SECONDS", text)

    with pytest.raises(ImproperlyConfigured, match="SWEEP_SECONDS must be a whole number of at least 1"):
        env_int("SWEEP_SECONDS", 3, minimum=1)


@pytest.mark.parametrize(
    "text", ["api.example.com", "ftp://example.com", "https://", "https://a:b@c.com", "http://x:99999"]
)
def test_an_address_is_plain_http(monkeypatch, text):
    monkeypatch.setenv("OPENAI_BASE_URL", text)

    with pytest.raises(ImproperlyConfigured, match="OPENAI_BASE_URL"):
        env_url("OPENAI_BASE_URL")


def test_an_address_loses_its_trailing_slash(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")

    assert env_url("OPENAI_BASE_URL") == "http://127.0.0.1:9/v1"


def test_a_secret_may_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("sk-secret\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))

    assert env_secret("OPENAI_API_KEY") == "sk-secret"


@pytest.mark.parametrize("value", ["sk-a b", "sk-“curly”", "sk-a\nX-Injected: 1"])
def test_a_secret_that_no_header_can_carry_is_refused_and_not_shown(monkeypatch, value):
    monkeypatch.setenv("OPENAI_API_KEY", value)

    with pytest.raises(ImproperlyConfigured) as error:
        env_secret("OPENAI_API_KEY")

    assert "sk-" not in str(error.value)


def run_manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "x" * 50, "DEBUG": "maybe"}, "DEBUG must be True or False"),
        ({"SECRET_KEY": "x" * 50, "DATABASE_URL": "mysql://u:pw-secret@h/d"}, "DATABASE_URL must start with"),
        ({"SECRET_KEY": "x" * 50, "XAI_BASE_URL": "nowhere"}, "XAI_BASE_URL must be a plain address"),
    ],
)
def test_a_wrong_environment_ends_the_start_in_one_line(tmp_path, variables, named):
    outcome = run_manage("check", DATA_DIR=str(tmp_path), **variables)

    assert outcome.returncode != 0
    assert len(outcome.stderr.strip().splitlines()) == 1
    assert named in outcome.stderr
    assert "pw-secret" not in outcome.stderr


@pytest.mark.parametrize(("old", "new"), RENAMED_VARIABLES.items())
def test_a_renamed_variable_in_an_old_env_file_ends_the_start_with_its_new_name(tmp_path, old, new):
    env_file = tmp_path / ".env"
    env_file.write_text(f"SECRET_KEY={'x' * 50}\n{old}=a-value\n")

    outcome = run_manage("check", DATA_DIR=str(tmp_path), ENV_FILE=str(env_file))

    assert outcome.returncode != 0
    assert f"{old} is now called {new}. Rename it in the environment or .env." in outcome.stderr


@pytest.mark.parametrize(
    "process",
    [
        ["-m", "gunicorn", "aibot.wsgi", "--check-config"],
        ["-m", "celery", "-A", "aibot", "worker"],
        ["manage.py", "sweep"],
        ["manage.py", "bot"],
        ["manage.py", "ask", "TEXT", "Hello"],
    ],
    ids=lambda process: process[1],
)
def test_no_process_starts_without_settings(tmp_path, process):
    # make run writes the file with the settings; whoever starts without it meant to have one.
    outcome = subprocess.run(
        [sys.executable, *process],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert outcome.returncode != 0
    assert "SECRET_KEY is not set" in outcome.stderr + outcome.stdout


def test_secrets_are_redacted_in_messages_arguments_and_tracebacks(settings):
    settings.SECRETS = ["sk-canary-123"]
    try:
        raise ValueError("bad key sk-canary-123")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s", ("Bearer sk-canary-123",), sys.exc_info())

    text = RedactingFormatter("%(message)s").format(record)

    assert "sk-canary-123" not in text
    assert text.count("[hidden]") == 3  # the message, the quoted source line, the exception
