"""The Celery application. Its tasks are thin doors: the record of all work is the database."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibot.settings")

app = Celery("aibot")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
