"""A wrong variable stops the start with its name and what to type, and never with its value if that is a secret."""

import json
import logging
import os
import sqlite3
import subprocess
import sys
import traceback
from contextlib import closing
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from aibot.env import (
    RENAMED_VARIABLES,
    env_bool,
    env_bucket,
    env_database,
    env_hosts,
    env_int,
    env_origins,
    env_redis_url,
    env_secret,
    env_time_zone,
    env_url,
    read_env_file,
)
from aibot.redaction import JsonFormatter, RedactingFormatter
from requests_app.log_context import logs_about

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("text", ["true", "1", "yes", "Flase"])
def test_a_boolean_is_exactly_true_or_false(monkeypatch, text):
    monkeypatch.setenv("DEBUG", text)

    with pytest.raises(ImproperlyConfigured, match="DEBUG must be True or False"):
        env_bool("DEBUG", default=False)


@pytest.mark.parametrize("text", ["Mars/Olympus", "Europe", "+13:00", "/etc/localtime", "../UTC", "x" * 300])
def test_a_time_zone_is_one_that_this_machine_knows(monkeypatch, text):
    monkeypatch.setenv("TIME_ZONE", text)

    with pytest.raises(ImproperlyConfigured, match="TIME_ZONE must be the name of a time zone, such as Europe/Berlin"):
        env_time_zone("TIME_ZONE")


@pytest.mark.parametrize("text", ["-1", "1.5", "ten", "0"])
def test_a_number_is_whole_and_large_enough(monkeypatch, text):
    monkeypatch.setenv("SWEEP_SECONDS", text)

    with pytest.raises(ImproperlyConfigured, match="SWEEP_SECONDS must be a whole number of at least 1"):
        env_int("SWEEP_SECONDS", 3, minimum=1)


@pytest.mark.parametrize(
    "text",
    [
        "api.example.com",
        "ftp://example.com",
        "https://",
        "https://a:b@c.com",
        "https://:b@c.com",
        "http://x:99999",
        "https://api.example .com",
        "https://api.example.com/v1?",
    ],
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


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:pw-secret@h/d",
        "postgres//u:pw-secret@h/d",
        "//u:pw-secret@h/d",
        "u:pw-secret@h/d",
        "postgres:/u:pw-secret@h/d",
        "postgres://u:pw-secret@h:99999/d",
        "postgres://u:pw-secret@h:port/d",
        "postgres://u:pw-secret/more@h/d",
        "postgres://u:pw-secret?more@h/d",
        "postgres://u:pw-secret@h",
        "postgres://u:a@h/d?pw-secret=1",
        "postgres://u:a@h/d?password=pw-secret",
        "postgres://u:pw-secret@h/d?conn_max_age=60",
        "postgres://u:pw-secret@h/d?%zz=(",
        "sqlite://u:pw-secret@h/d",
        "sqlite://",
    ],
)
def test_an_unusable_database_address_is_refused_without_showing_it(monkeypatch, recwarn, tmp_path, url):
    monkeypatch.setenv("DATABASE_URL", url)

    with pytest.raises(ImproperlyConfigured, match=r"DATABASE_URL must (start with|have the form)") as error:
        env_database("DATABASE_URL", tmp_path / "db.sqlite3")

    assert "pw-secret" not in "".join(traceback.format_exception(error.value))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("url", "facts"),
    [
        ("postgres://u:p%23w@h:5433/d", {"NAME": "d", "USER": "u", "PASSWORD": "p#w", "HOST": "h", "PORT": 5433}),
        ("postgresql://u:p#w@h/d", {"PASSWORD": "p#w", "HOST": "h", "NAME": "d"}),
        ("postgres://u:p%zzw@h/d", {"PASSWORD": "p%zzw"}),
        ("postgres://u:p@h/d?sslmode=require", {"OPTIONS": {"sslmode": "require"}}),
        ("postgres://u:p@a:1,b:2/d", {"HOST": "a,b", "PORT": "1,2"}),
        ("postgres:///d?host=/run/postgresql", {"NAME": "d"}),
        ("sqlite:////srv/db.sqlite3", {"NAME": "/srv/db.sqlite3"}),
        ("", {"NAME": "/srv/50% #1?/db.sqlite3"}),
    ],
)
def test_a_database_address_is_read(monkeypatch, url, facts):
    monkeypatch.setenv("DATABASE_URL", url)

    database = env_database("DATABASE_URL", Path("/srv/50% #1?/db.sqlite3"))

    assert facts.items() <= database.items()


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "redsi://:pw-secret@h",
        "redis//:pw-secret@h",
        "redis+socket:///run/redis.sock",
        "redis://:pw-secret@h:99999/0",
        "redis://:pw-secret/more@h:6379/0",
        "redis://:pw-secret@h/queue",
        "redis://",
    ],
)
def test_an_unusable_redis_address_is_refused_without_showing_it(monkeypatch, url):
    monkeypatch.setenv("REDIS_URL", url)

    with pytest.raises(ImproperlyConfigured, match=r"REDIS_URL must (start with|have the form) redis://") as error:
        env_redis_url("REDIS_URL")

    assert "pw-secret" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("url", ["redis://h", "redis://:p%2Fw@h:6379/0", "rediss://u:p@h:6380/1?ssl_cert_reqs=none"])
def test_a_redis_address_is_read(monkeypatch, url):
    monkeypatch.setenv("REDIS_URL", url)

    assert env_redis_url("REDIS_URL") == url


@pytest.mark.parametrize("text", ["http://x", "x.com:8000", "x.com/admin", "a.com b.com", "ok.com, https://x.com"])
def test_a_host_is_a_name_alone(monkeypatch, text):
    monkeypatch.setenv("ALLOWED_HOSTS", text)

    with pytest.raises(ImproperlyConfigured, match="ALLOWED_HOSTS must be host names"):
        env_hosts("ALLOWED_HOSTS")


def test_hosts_are_read(monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", "bot.example.com, .example.org,127.0.0.1,[::1],*,a_b")

    assert env_hosts("ALLOWED_HOSTS") == ["bot.example.com", ".example.org", "127.0.0.1", "[::1]", "*", "a_b"]


@pytest.mark.parametrize("text", ["x.com", "ftp://x.com", "https://x.com/path", "https://"])
def test_an_origin_is_a_scheme_and_a_host(monkeypatch, text):
    monkeypatch.setenv("CSRF_TRUSTED_ORIGINS", text)

    with pytest.raises(ImproperlyConfigured, match="CSRF_TRUSTED_ORIGINS must be origins"):
        env_origins("CSRF_TRUSTED_ORIGINS")


def test_origins_are_read_as_browsers_send_them(monkeypatch):
    monkeypatch.setenv("CSRF_TRUSTED_ORIGINS", "https://x.com/, https://*.y.com:8443")

    assert env_origins("CSRF_TRUSTED_ORIGINS") == ["https://x.com", "https://*.y.com:8443"]


@pytest.mark.parametrize("text", ["s3://media", "media/folder", "https://s3.example.com/media"])
def test_a_bucket_is_a_name_alone(monkeypatch, text):
    monkeypatch.setenv("S3_BUCKET", text)

    with pytest.raises(ImproperlyConfigured, match="S3_BUCKET must be the bucket's name alone"):
        env_bucket("S3_BUCKET")


def test_a_line_of_the_env_file_without_a_name_is_refused_and_not_shown(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(os, "environ", {})
    (tmp_path / ".env").write_text("# a comment\n\n  \nOPENAI_API_KEY = sk-secret\n")

    with pytest.raises(ImproperlyConfigured, match=r"\.env, line 4 is not of the form NAME=value") as error:
        read_env_file(tmp_path / ".env")

    assert "sk-secret" not in str(error.value) + caplog.text


def run_process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python …` to its end, in an environment of these variables alone."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **variables},
        capture_output=True,
        text=True,
        timeout=180,  # a bound for a loaded machine; usually it takes two seconds
        check=False,
    )


def run_manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_process("manage.py", *arguments, **variables)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "x" * 50, "DEBUG": "maybe"}, "DEBUG must be True or False"),
        ({"SECRET_KEY": "x" * 50, "XAI_BASE_URL": "nowhere"}, "XAI_BASE_URL must be a plain address"),
        ({"SECRET_KEY": "x" * 50, "DATA_DIR": "/proc/x"}, "DATA_DIR cannot be created at /proc/x"),
        ({"SECRET_KEY": "x" * 50, "ALLOWED_HOSTS": "http://x"}, "ALLOWED_HOSTS must be host names"),
        ({"SECRET_KEY": "x" * 50, "PORT": "99999"}, "PORT must be a whole number of at least 1 and at most 65535"),
        ({"SECRET_KEY": "x" * 50, "WELCOME_CREDITS": "9" * 5000}, "WELCOME_CREDITS must be a whole number"),
        ({"SECRET_KEY": "x" * 50, "LOG_FILE": "/nowhere/aibot.log"}, "LOG_FILE is /nowhere/aibot.log, where this user"),
        ({"SECRET_KEY": "x" * 50, "LOG_FILE": "/"}, "LOG_FILE is /, where this user must not write"),
        ({"SECRET_KEY": "x" * 50, "ENV_FILE": "/nowhere/.env"}, "/nowhere/.env cannot be read (No such file"),
        ({"SECRET_KEY": "x" * 50, "ENV_FILE": "/"}, "/ cannot be read (Is a directory)"),
        *(
            (
                {"SECRET_KEY": "x" * 50, "EMAIL_URL": "smtp://m", "ALERT_EMAIL": address},
                "ALERT_EMAIL must be addresses",
            )
            for address in ("a;b@example.com", "me@exa..mple.com", "me", "me@example.com <x>")
        ),
        (
            {"SECRET_KEY": "x" * 50, "ALERT_EMAIL": "me@example.com", "EMAIL_URL": "smtp://m%C3%BC:x@mail"},
            "The user and the password of EMAIL_URL must be ASCII",
        ),
        ({"SECRET_KEY": "x" * 50, "S3_ACCESS_KEY_ID": "pw-secret"}, "Set both S3_ACCESS_KEY_ID and"),
        ({"SECRET_KEY": "x" * 50, "DATABASE_URL": "postgres//u:pw-secret@h/d"}, "DATABASE_URL must start with"),
        (
            {"SECRET_KEY": "x" * 50, "REDIS_URL": "redsi://:pw-secret@h"},
            "REDIS_URL must start with redis:// or rediss://.",
        ),
    ],
)
def test_a_wrong_environment_ends_the_start_in_one_line(tmp_path, variables, named):
    outcome = run_manage("check", **{"DATA_DIR": str(tmp_path), **variables})

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
    outcome = run_process(*process, DATA_DIR=str(tmp_path))

    assert outcome.returncode != 0
    assert "SECRET_KEY is not set" in outcome.stderr + outcome.stdout


def test_a_web_process_keeps_what_it_has_loaded_out_of_the_collectors_walks(tmp_path):
    code = "import gc, sys, aibot.wsgi; print(gc.get_freeze_count(), 'aibot.urls' in sys.modules)"

    outcome = run_process("-c", code, DATA_DIR=str(tmp_path), SECRET_KEY="x" * 50, DEBUG="True")

    frozen, has_views = outcome.stdout.split()
    assert (int(frozen) > 50_000, has_views) == (True, "True"), outcome.stderr


@pytest.mark.parametrize(
    "process",
    [["-m", "celery", "-A", "aibot", "worker"], ["manage.py", "run"], ["manage.py", "ask", "TEXT", "Hello"]],
    ids=lambda process: process[1],
)
def test_no_process_starts_without_its_delivery_backend(tmp_path, process):
    variables = {"SECRET_KEY": "x" * 50, "DELIVERY_BACKEND": "nope.Nope"}

    outcome = run_process(*process, DATA_DIR=str(tmp_path), **variables)

    assert outcome.returncode != 0
    assert "DELIVERY_BACKEND must name" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(
    ("process", "database", "words"),
    [
        (["manage.py", "ask", "TEXT", "Hello"], "", "Run: manage.py migrate"),
        (["manage.py", "sweep"], "", "Run: manage.py migrate"),
        (["manage.py", "prices"], "", "Run: manage.py migrate"),
        (["-m", "celery", "-A", "aibot", "worker"], "", "Run: manage.py migrate"),
        (["manage.py", "ask", "TEXT", "Hello"], "postgres://a:a-password@127.0.0.1:1/x", "Connection refused. Check"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_a_database_that_is_not_migrated_or_away_ends_it_in_one_line(tmp_path, process, database, words):
    variables = {"SECRET_KEY": "x" * 50, "DATABASE_URL": database, "PYTHONWARNINGS": "ignore"}

    outcome = run_process(*process, DATA_DIR=str(tmp_path), **variables)

    assert outcome.returncode != 0
    assert words in outcome.stderr.splitlines()[-1]
    assert "Traceback" not in outcome.stderr
    assert "a-password" not in outcome.stderr


def test_a_migration_that_fails_says_why(tmp_path):
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database:
        database.execute("CREATE TABLE django_content_type (id integer)")

    outcome = run_manage("migrate", DATA_DIR=str(tmp_path), SECRET_KEY="x" * 50)

    assert outcome.returncode != 0
    assert "already exists" in outcome.stderr


def test_a_sweeper_waits_for_a_database_that_is_away(tmp_path):
    variables = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(tmp_path),
        "SECRET_KEY": "x" * 50,
        "DATABASE_URL": "postgres://a:a-password@127.0.0.1:1/x",
    }
    command = [sys.executable, "manage.py", "sweep"]
    with subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True) as sweeper:
        try:
            assert sweeper.stderr
            lines = iter(sweeper.stderr.readline, "")
            assert any("sweeping begins when it does" in line for line in lines), "it has ended"
        finally:
            sweeper.kill()


def test_secrets_are_redacted_in_messages_arguments_and_tracebacks(settings):
    settings.SECRETS = ["sk-canary-123"]
    try:
        raise ValueError("bad key sk-canary-123")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s", ("Bearer sk-canary-123",), sys.exc_info())

    text = RedactingFormatter("%(message)s").format(record)

    assert "sk-canary-123" not in text
    assert text.count("[hidden]") == 3  # the message, the quoted source line, the exception


def test_a_line_of_json_says_which_request_it_is_about_and_no_secret(settings):
    settings.SECRETS = ['sk-canary"123']
    try:
        raise ValueError('bad key sk-canary"123')
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s", ('Bearer sk-canary"123',), sys.exc_info())

    with logs_about("req_1"):
        text = JsonFormatter().format(record)
    line = json.loads(text)

    assert "canary" not in text
    assert "\n" not in text
    assert (line["level"], line["logger"], line["request_id"]) == ("ERROR", "x", "req_1")
    assert line["message"] == "Bearer [hidden]"
    assert "ValueError" in line["traceback"]
    assert "request_id" not in json.loads(JsonFormatter().format(record))


def test_a_log_file_gets_the_same_lines_in_the_format_that_is_set(tmp_path):
    log = tmp_path / "aibot.log"
    variables = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(tmp_path),
        "SECRET_KEY": "x" * 50,
        "LOG_FILE": str(log),
        "LOG_FORMAT": "json",
    }
    code = "import django, logging; django.setup(); logging.getLogger('aibot').warning('A canary sings')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**variables, "DJANGO_SETTINGS_MODULE": "aibot.settings"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert json.loads(log.read_text())["message"] == json.loads(done.stderr)["message"] == "A canary sings"
    assert log.stat().st_mode & 0o077 == 0
