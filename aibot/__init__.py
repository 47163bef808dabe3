"""The project: settings, URLs and the Celery application that wire the three apps together."""

from aibot.celery import app as celery_app

__all__ = ["celery_app"]
