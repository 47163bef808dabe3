"""Updates and deliveries as they stand in the database a minute after they came, and what was asked."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from requests_app.models import Request
from telegram_bot.models import Delivery, TelegramUpdate
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_chat, make_request
from tests.telegram_bot.updates import message


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def make_update(**fields: Any) -> None:
    raw = message("Hello")
    update_ingest(raw)
    TelegramUpdate.objects.filter(update_id=raw["update_id"]).update(**{"received_at": ago(60), **fields})


def make_delivery(*, status: str = "FAILED", **fields: Any) -> Delivery:
    request = make_request(status=status, completed_at=None if status in Request.OPEN else ago(60))
    values = {
        "part": 0,
        "kind": "RESULT",
        "state": "PENDING",
        "chat": make_chat(42),
        "message_id": 1,
        "created_at": ago(60),
    }
    return Delivery.objects.create(**{"request": request, **values, **fields})


def asked() -> list[str]:
    """Return the prompts of all requests, in the order in which they were accepted."""
    return list(Request.objects.order_by("created_at").values_list("input_text", flat=True))
