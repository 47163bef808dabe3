"""The Celery application. Its tasks are thin: the database is the queue."""

import os
import sys
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from aibot import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibot.settings")


@setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Do nothing. A receiver of this signal keeps Celery from replacing settings.LOGGING with its own set-up."""


broker.register()
app = Celery("aibot")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add("aibot.worker:DueWork")  # by name: it needs the apps, which are not loaded yet


@worker_init.connect
def refuse_invalid_settings(**_: Any) -> None:
    """End a worker whose settings the system checks refuse, as manage.py does. Celery itself ignores what they say."""
    errors = [message for message in run_checks() if message.is_serious()]
    if errors:
        sys.exit("\n".join(f"Configuration error: {error.msg}" for error in errors))


@worker_init.connect
def refuse_other_answers(**_: Any) -> None:
    """End a worker whose DATA_DIR belongs to processes with other settings."""
    from aibot.data_lock import join_data_dir

    try:
        join_data_dir()
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration error: {error}")


@worker_init.connect
def refuse_other_tables(**_: Any) -> None:
    """End a worker that would find other tables than its code knows. Without a database it starts, and waits for it."""
    from aibot.database_state import NOT_MIGRATED, is_migrated  # the apps are loaded by now

    with suppress(DatabaseError):
        if not is_migrated():
            sys.exit(NOT_MIGRATED)
    connection.close()
