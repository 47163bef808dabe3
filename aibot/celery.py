"""The Celery application. Its tasks are thin: the database is the queue."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibot.settings")


@setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Do nothing. A receiver of this signal keeps Celery from replacing settings.LOGGING with its own set-up."""


app = Celery("aibot")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
