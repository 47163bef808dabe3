"""Rows for the tests: each function creates one valid row from the fields that the test names."""

from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.utils import timezone

from aibot.models import Alert
from providers.models import Attempt, ProviderConfig
from requests_app.models import Account, AIModel, LedgerEntry, Request
from telegram_bot.bots import current_bot_id
from telegram_bot.chats import chat_ensure
from telegram_bot.models import TelegramChat, TelegramUser

_numbers = count(1)


def make_account(*, credits: int = 100, **fields: Any) -> Account:
    """Create an account whose balance is backed by a TOPUP entry in the ledger."""
    number = next(_numbers)
    account = Account.objects.create(
        **{"key": f"test:{number}", "name": f"User {number}", "balance": credits, **fields}
    )
    if credits:
        LedgerEntry.objects.create(account=account, kind=LedgerEntry.Kind.TOPUP, amount=credits, actor="test")
    return account


def make_model(**fields: Any) -> AIModel:
    """Create an AI model with these fields; without any, return the shipped "Text AI" at a flat price of 1."""
    if not fields:
        flat = {"name": "Text AI", "category": "TEXT", "provider": "aimlapi", "token_cost": 1, "rates": {}}
        return AIModel.objects.update_or_create(slug="text-ai", defaults=flat)[0]
    number = next(_numbers)
    return AIModel.objects.create(
        **{"name": f"Model {number}", "slug": f"model-{number}", "category": "TEXT", "token_cost": 1, **fields}
    )


def make_request(*, account: Account | None = None, model: AIModel | None = None, **fields: Any) -> Request:
    """Create a request without its ledger entries; services.intake makes one with them."""
    model = model or make_model()
    now = timezone.now()
    return Request.objects.create(
        **{
            "user": account or make_account(),
            "model": model,
            "category": model.category,
            "input_text": "Say hello",
            "credits": model.token_cost,
            "intake_key": f"test:{next(_numbers)}",
            "deadline_at": now + timedelta(seconds=90),
            **fields,
        }
    )


def make_provider(provider: str, *, category: str = "TEXT", **fields: Any) -> ProviderConfig:
    """Return the provider's route in this category, shipped or new, with these fields."""
    name = fields.pop("name", provider)
    route, _ = ProviderConfig.objects.update_or_create(
        category=category, name=name, defaults={"provider": provider, "model": f"{provider}-model", **fields}
    )
    return route


def make_attempt(**fields: Any) -> Attempt:
    """Create a finished, successful attempt."""
    number = next(_numbers)
    return Attempt.objects.create(
        **{
            "caller_key": f"req_test_{number}",
            "number": 1,
            "category": "TEXT",
            "provider": "aimlapi",
            "model": "test-model",
            "state": Attempt.State.OK,
            "cost": Decimal("0.0015"),
            "cost_source": "computed",
            "duration_ms": 1000,
            "finished_at": timezone.now(),
            **fields,
        }
    )


def make_chat(telegram_id: int = 42, **fields: Any) -> TelegramChat:
    """Return the row of a chat of the bot, with these columns."""
    chat = chat_ensure(telegram_id=telegram_id)
    if fields:
        TelegramChat.objects.filter(pk=chat.pk).update(**fields)
        chat.refresh_from_db()
    return chat


def make_user(telegram_id: int, **fields: Any) -> TelegramUser:
    return TelegramUser.objects.create(bot_id=current_bot_id(), telegram_id=telegram_id, **fields)


def make_alert(**fields: Any) -> Alert:
    """Create an alert that has just begun and is told to nobody yet."""
    words = {"title": "Nobody works", "advice": "Start a worker."}
    return Alert.objects.create(**{"key": "no-worker", **words, "tell_at": timezone.now(), **fields})
