"""The project's settings as the tests need them: no developer's .env, no real keys, no real addresses."""

import os
import tempfile

BEGINNINGS = ("ALERT_", "EMAIL_", "OTEL_", "PUBLIC_", "REPLICATE_", "SENTRY_", "TELEGRAM_")
ENDINGS = ("_KEY", "_TOKEN", "_BASE_URL", "_KEY_FILE", "_TOKEN_FILE")
for name in list(os.environ):
    # A key in the developer's shell must never reach a test.
    if name.endswith(ENDINGS) or name.startswith(
        ("ALERT_", "EMAIL_", "OTEL_", "PUBLIC_", "REPLICATE_", "SENTRY_", "TELEGRAM_")
    ):
        del os.environ[name]
os.environ.update(
    ENV_FILE=os.devnull,
    DATA_DIR=os.environ.get("TEST_DATA_DIR") or tempfile.mkdtemp(prefix="aibot-tests-"),
    SECRET_KEY="a-key-for-tests-only",
    DEBUG="False",
    HTTPS="False",
    ALLOWED_HOSTS="testserver,localhost,127.0.0.1",
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL", ""),
    DATABASE_POOL_SIZE="100",  # threads that a test stops in the middle of a transaction keep their connections
    REDIS_URL=os.environ.get("TEST_REDIS_URL", ""),
)

from aibot.settings import *  # noqa: E402, F403

if ENGINE == "django.db.backends.sqlite3":  # noqa: F405
    # A file, because threads cannot share a database in memory without locking each other out.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}  # noqa: F405
# Long enough that no lease is renewed during a test; tests of renewal set their own.
LEASE_SECONDS = 600

STATIC_ROOT = DATA_DIR / "static"  # noqa: F405
STATIC_ROOT.mkdir(exist_ok=True)

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
