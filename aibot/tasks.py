"""Celery tasks of the service as a whole."""

from celery import shared_task

from aibot.alerts.watch import WATCH_TASK, watch
from requests_app.slots import DueTask


@shared_task(base=DueTask, name=WATCH_TASK)
def watch_alerts(_: str) -> int:
    """Keep the watch while no sweeper does. Idempotent."""
    return watch()
