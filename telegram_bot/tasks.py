"""Celery tasks: each calls one function with the id that its message carries, and nothing more."""

from celery import shared_task

from requests_app.slots import DueTask
from telegram_bot.delivery.placeholder import placeholder_place
from telegram_bot.updates.queue import queue_drain


@shared_task(base=DueTask, name="telegram_bot.tasks.handle_chat")
def handle_chat(chat_id: int) -> int:
    """Handle a chat's updates. Idempotent: a second run finds the chat claimed or nothing due."""
    return queue_drain(chat_id=chat_id)


@shared_task(base=DueTask, name="telegram_bot.tasks.place")
def place(request_id: str) -> bool:
    """Send a placeholder whose sender was lost. Idempotent: a second run finds it claimed."""
    return placeholder_place(request_id=request_id)
