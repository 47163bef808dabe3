"""Celery's doors to the chat. A task carries an id and nothing else."""

from celery import shared_task

from providers.db import give_back_connection
from telegram_bot.delivery.placeholder import placeholder_place
from telegram_bot.updates.queue import queue_drain


@shared_task(name="telegram_bot.tasks.handle_chat")
def handle_chat(chat_id: int) -> None:
    """Handle a chat's updates. Running it twice is harmless: the second run finds the chat taken or nothing to do."""
    try:
        queue_drain(chat_id=chat_id)
    finally:
        give_back_connection()


@shared_task(name="telegram_bot.tasks.place")
def place(request_id: str) -> None:
    """Place a placeholder whose sender was lost. Running it twice is harmless: the second run finds it taken."""
    try:
        placeholder_place(request_id=request_id)
    finally:
        give_back_connection()
