"""The system checks of the settings as a whole."""

import pytest

from aibot import checks, env
from requests_app.models import WorkerHeartbeat


def ids(messages) -> list[str]:
    return [message.id for message in messages]


def test_a_misspelt_variable_is_named_with_the_nearest_one(monkeypatch):
    for name in ("TELEGRAM_BOT_TOKN", "OPENAI_KEY", "AWS_ACCESS_KEY_ID", "WEB_CONCURRENCY", "PATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr(
        env,
        "_read_variables",
        {"TELEGRAM_BOT_TOKEN", "OPENAI_API_KEY", "S3_ACCESS_KEY_ID", "WORKER_CONCURRENCY", "DATA_DIR"},
    )

    assert env.misspelt_variables() == [("OPENAI_KEY", "OPENAI_API_KEY"), ("TELEGRAM_BOT_TOKN", "TELEGRAM_BOT_TOKEN")]
    assert [message.hint for message in checks.check_variables()] == [
        "Did you mean OPENAI_API_KEY?",
        "Did you mean TELEGRAM_BOT_TOKEN?",
    ]


def test_what_is_for_trying_is_named_in_production(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    settings.REDIS_URL = ""
    assert ids(checks.check_servers()) == ["aibot.W002", "aibot.W003"]

    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    settings.REDIS_URL = "redis://localhost"
    assert checks.check_servers() == []


def test_a_redirect_that_never_ends_is_named(settings):
    settings.HTTPS, settings.SECURE_PROXY_SSL_HEADER = True, None
    assert ids(checks.check_proxy()) == ["aibot.W004"]

    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert checks.check_proxy() == []


@pytest.mark.django_db
def test_two_machines_without_shared_media_are_named(settings):
    WorkerHeartbeat.objects.create(name="worker@alpha:1", kind="worker")
    WorkerHeartbeat.objects.create(name="sweeper@alpha:2", kind="sweeper")
    assert checks.check_media(databases=["default"]) == []

    WorkerHeartbeat.objects.create(name="worker@beta:1", kind="worker")
    assert ids(checks.check_media(databases=["default"])) == ["aibot.W005"]
    assert checks.check_media(databases=None) == []

    settings.MEDIA_IS_SHARED = True
    assert checks.check_media(databases=["default"]) == []


def test_a_bucket_without_rights_is_named_with_what_it_refuses(settings, bucket):
    settings.S3_BUCKET = "media"
    assert checks.check_bucket(databases=["default"]) == []
    assert bucket.objects == {}

    bucket.is_forbidden = True
    (message,) = checks.check_bucket(databases=["default"])

    assert message.id == "aibot.E001"
    assert message.msg == "The bucket media does not take an object: AccessDenied."
    assert checks.check_bucket() == []  # without --database nobody is asked
