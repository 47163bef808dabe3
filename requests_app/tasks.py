"""Celery tasks: each calls one service with the id that its message carries, and nothing more."""

from celery import shared_task

from providers.chain.jobs import job_cancel
from requests_app.delivery_backend import get_delivery_backend
from requests_app.dispatch import TEXT
from requests_app.services.execution import request_advance
from requests_app.slots import DueTask


@shared_task(base=DueTask, name="requests_app.tasks.advance", kind=TEXT)
def advance(request_id: str) -> bool:
    """Take one request a step further. Idempotent: a second run finds nothing to claim."""
    return request_advance(request_id=request_id)


@shared_task(base=DueTask, name="requests_app.tasks.deliver")
def deliver(request_id: str) -> None:
    """Show how a request ended. Idempotent, as DeliveryBackend.deliver() is."""
    get_delivery_backend().deliver(request_id)


@shared_task(base=DueTask, name="requests_app.tasks.cancel_job")
def cancel_job(attempt_id: str) -> None:
    """Cancel a job at its provider that no request waits for. Idempotent."""
    job_cancel(attempt_id=attempt_id)
