"""Celery tasks: each calls one function with the id that its message carries, and nothing more."""

from celery import shared_task

from providers.db import give_back_connection
from telegram_bot.delivery.placeholder import placeholder_place
from telegram_bot.updates.queue import queue_drain


@shared_task(name="telegram_bot.tasks.handle_chat")
def handle_chat(chat_id: int) -> None:
    """Handle a chat's updates. Idempotent: a second run finds the chat claimed or nothing due."""
    try:
        queue_drain(chat_id=chat_id)
    finally:
        give_back_connection()


@shared_task(name="telegram_bot.tasks.place")
def place(request_id: str) -> None:
    """Send a placeholder whose sender was lost. Idempotent: a second run finds it claimed."""
    try:
        placeholder_place(request_id=request_id)
    finally:
        give_back_connection()
