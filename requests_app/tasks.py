"""Celery's doors to the services. A task carries an id and nothing else."""

from celery import shared_task

from providers.chain.jobs import job_cancel
from providers.db import give_back_connection
from requests_app.delivery_backend import get_delivery_backend
from requests_app.services.execution import request_advance


@shared_task(name="requests_app.tasks.advance")
def advance(request_id: str) -> None:
    """Bring one request to its end. Running it twice is harmless: the second run finds nothing to claim."""
    try:
        request_advance(request_id=request_id)
    finally:
        give_back_connection()


@shared_task(name="requests_app.tasks.deliver")
def deliver(request_id: str) -> None:
    """Show how a request ended. Running it twice shows nothing twice; see DeliveryBackend.deliver()."""
    try:
        get_delivery_backend().deliver(request_id)
    finally:
        give_back_connection()


@shared_task(name="requests_app.tasks.cancel_job")
def cancel_job(attempt_id: str) -> None:
    """Stop a job at its vendor that nobody waits for any more. Running it twice is harmless."""
    try:
        job_cancel(attempt_id=attempt_id)
    finally:
        give_back_connection()
