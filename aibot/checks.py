"""What `manage.py check` says about the settings as a whole, `check --deploy` about those of a server."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 — Django's own name
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError

from aibot.database_state import NO_RIGHTS, NOT_MIGRATED, explain, is_migrated, may_write
from aibot.env import is_command, misspelt_variables
from providers.statistics.day_cuts import zones_left


def check_variables(**_: Any) -> list[CheckMessage]:
    """W001: a variable that is almost called like one of ours, and is read by nobody."""
    return [
        Warning(f"{name} is set, and no setting is called so.", hint=f"Did you mean {nearest}?", id="aibot.W001")
        for name, nearest in misspelt_variables()
    ]


def check_servers(**_: Any) -> list[CheckMessage]:
    """W002: SQLite, W003: the broker in files; both are made for trying the product on one machine."""
    messages: list[CheckMessage] = []
    if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
        messages.append(
            Warning(
                "The database is SQLite, which has one writer at a time and lives on this machine.",
                hint="Set DATABASE_URL to a PostgreSQL database.",
                id="aibot.W002",
            )
        )
    if not settings.REDIS_URL:
        messages.append(
            Warning(
                "The broker is a folder on this machine: workers elsewhere get no wake-ups.",
                hint="Set REDIS_URL to a Redis or Valkey server.",
                id="aibot.W003",
            )
        )
    return messages


def check_proxy(**_: Any) -> list[CheckMessage]:
    """W004: everything is redirected to https, also what a proxy has received over https, and so for ever."""
    if not settings.HTTPS or settings.SECURE_PROXY_SSL_HEADER:
        return []
    return [
        Warning(
            "HTTPS is on, and no proxy may say that a request came over it: behind one each page redirects for ever.",
            hint="Set BEHIND_PROXY=True, and have the proxy set X-Forwarded-Proto (as deploy/nginx.conf does).",
            id="aibot.W004",
        )
    ]


def check_database(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """E002: a database that does not answer, lacks the tables of this version, or lets its user only read."""
    if not databases or is_command("migrate"):
        return []
    try:
        problem = "" if is_migrated() else NOT_MIGRATED
        if not problem and not may_write():
            problem = NO_RIGHTS
    except DatabaseError as error:
        problem = explain(error) or str(error).partition("\n")[0]
    return [Error(problem, id="aibot.E002")] if problem else []


def check_media(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W005: processes on several machines, and media in a folder that each has for itself."""
    if not databases or settings.S3_BUCKET or settings.MEDIA_IS_SHARED:
        return []
    names = apps.get_model("requests_app", "WorkerHeartbeat").objects.using(databases[0]).values_list("name", flat=True)
    try:
        hosts = sorted({name.partition("@")[2].rpartition(":")[0] for name in names})
    except DatabaseError:
        return []  # before the first migration
    if len(hosts) < 2:
        return []
    return [
        Warning(
            f"Processes run on {', '.join(hosts)}, and media are in a folder: one machine's are not on the others.",
            hint="Set S3_BUCKET; or MEDIA_IS_SHARED=True where DATA_DIR is one folder for all of them.",
            id="aibot.W005",
        )
    ]


def check_days(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W006: another time zone than that in which the days of the analyses are cut."""
    if not databases:
        return []
    states = apps.get_model("providers", "FoldState").objects.using(databases[0])
    try:
        zones = zones_left(states.values_list("days", "deleted_until"))
    except DatabaseError:
        return []  # before the first migration
    if not zones:
        return []
    return [
        Warning(
            f"TIME_ZONE is {settings.TIME_ZONE}, and the days of the analyses are those of {' and '.join(zones)}.",
            hint="Run `manage.py recount`: it cuts the days anew whose rows are all on record.",
            id="aibot.W006",
        )
    ]


def check_bucket(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """E001: a bucket that does not take, return or delete an object. Asks the store, so with --database only."""
    if not databases or not settings.S3_BUCKET:
        return []
    from botocore.exceptions import BotoCoreError, ClientError

    step, name = "take", f"check/{uuid4()}"
    try:
        default_storage.save(name, ContentFile(b"a check"))
        step = "return"
        with default_storage.open(name) as file:
            file.read()
        step = "delete"
        default_storage.delete(name)
    except (BotoCoreError, ClientError, OSError) as error:
        reason = error.response["Error"].get("Code") if isinstance(error, ClientError) else type(error).__name__
        return [
            Error(
                f"The bucket {settings.S3_BUCKET} does not {step} an object: {reason}.",
                hint="Check S3_ENDPOINT_URL, and give the key the rights PutObject, GetObject and DeleteObject in it.",
                id="aibot.E001",
            )
        ]
    return []
