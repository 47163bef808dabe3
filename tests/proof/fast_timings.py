"""Shorter time-outs, leases and pauses, so that a soak of minutes meets what takes hours in production.

What an operator can set comes through the environment, see soak.py; these are the product's constants. They shrink
together: a lease still outlives the calls that it covers, and a sender counts as lost only after its call has ended.
"""

from datetime import timedelta
from types import ModuleType
from typing import Any

from django.conf import settings

from providers.chain import circuit_breaker, fallback, jobs
from providers.models import ProviderConfig
from requests_app import due_work
from telegram_bot.api import client
from telegram_bot.content import rendering
from telegram_bot.delivery import backend, claims, placeholder, retries, streaming
from telegram_bot.updates import queue

CALL_SECONDS = 2.0  # for one call of the Bot API, instead of 10
MAX_DELAY_SECONDS = 1.2  # until the Bot API executes a call whose caller has crashed; below the lease
TIMEOUTS = {"TEXT": 3, "IMAGE": 6, "VIDEO": 25, "AUDIO": 6}  # of a provider


def shorten_waits() -> None:
    """Shorten the waits of this process and of those that it forks."""
    _set(rendering, MAX_UNITS=250)  # of a message, so that the sandbox's answers have several parts
    _set(client, CALL_SECONDS=CALL_SECONDS, UPLOAD_SECONDS=4 * CALL_SECONDS)
    _set(client, CONNECT_SECONDS=0.8, READ_SECONDS=1.6)
    _set(queue, LEASE_SECONDS=6 * CALL_SECONDS)
    _set(placeholder, PLACING_SECONDS=1.2 * CALL_SECONDS)
    _set(claims, MARGIN_SECONDS=0.5 * CALL_SECONDS, STORAGE_SECONDS=0.5 * CALL_SECONDS)
    _set(claims, SETTLING_SECONDS=1.5 * CALL_SECONDS)
    _set(backend, NOTICE_AFTER=timedelta(seconds=6))
    _set(streaming, CALL_SECONDS=CALL_SECONDS, EDIT_INTERVAL_SECONDS=0.2, MAX_EDIT_INTERVAL_SECONDS=0.4)
    _set(due_work, GRACE=timedelta(seconds=1))
    _set(retries, MAX_PAUSE_SECONDS=10)
    _set(circuit_breaker, BASE_COOLDOWN_SECONDS=2, MAX_COOLDOWN_SECONDS=10)
    _set(circuit_breaker, ACCESS_COOLDOWN_SECONDS=10, RATE_LIMIT_COOLDOWN_SECONDS=3)
    _set(fallback, MIN_TRY_SECONDS=1.0)
    _set(jobs, ADOPTION_SECONDS=15)
    settings.DEADLINE_SECONDS = {"TEXT": 20, "IMAGE": 40, "VIDEO": 60, "AUDIO": 40}


def _set(module: ModuleType, **constants: Any) -> None:
    for name, value in constants.items():
        assert hasattr(module, name), f"{module.__name__} has no {name} any more"
        setattr(module, name, value)


def shorten_timeouts() -> None:
    """Shorten the providers' time-outs."""
    for category, seconds in TIMEOUTS.items():
        ProviderConfig.objects.filter(category=category).update(timeout_seconds=seconds)
