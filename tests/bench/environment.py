"""What every measurement with our own processes begins with: settings, a fresh database, Django."""

import os
import uuid

import psycopg


def set_up_django(**variables: str) -> None:
    """Set these variables beside those that every measurement needs, for this process and its children, then Django up.

    The database is new and its tables are not there yet.
    """
    os.environ.update(
        DJANGO_SETTINGS_MODULE="aibot.settings",
        ENV_FILE=os.devnull,
        SECRET_KEY="bench-" + "x" * 50,
        DATABASE_URL=_fresh_database(os.environ["TEST_DATABASE_URL"]),
        REDIS_URL=os.environ["TEST_REDIS_URL"],
        **variables,
    )
    import django

    django.setup()


def _fresh_database(url: str) -> str:
    name = f"bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # our own name
    base, _, query = url.partition("?")
    return base.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")
