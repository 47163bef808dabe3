"""The Celery application. Its tasks are thin doors: the record of all work is the database."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibot.settings")


@setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Do nothing: whoever listens here keeps Celery from setting its own levels over settings.LOGGING."""


app = Celery("aibot")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
