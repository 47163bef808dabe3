"""Shorter time-outs, leases and pauses, so that a soak of minutes meets what takes hours in production.

What an operator can set comes through the environment, see soak.py; these are the product's constants. They shrink
together: a lease still outlives the calls that it covers, and a sender counts as lost only after its call has ended.
"""

from datetime import timedelta

from django.conf import settings

from providers.chain import circuit_breaker, fallback, jobs
from providers.models import ProviderConfig
from requests_app.models import AIModel
from telegram_bot import sweeper
from telegram_bot.api import client
from telegram_bot.content import rendering
from telegram_bot.delivery import backend, placeholder, retries, streaming
from telegram_bot.updates import queue

CALL_SECONDS = 2.0  # for one call of the Bot API, instead of 10
MAX_DELAY_SECONDS = 1.2  # until the Bot API executes a call whose caller has crashed; below the lease
TIMEOUTS = {"TEXT": 3, "IMAGE": 6, "VIDEO": 25, "AUDIO": 6}  # of a provider


def shorten_waits() -> None:
    """Shorten the waits of this process and of those that it forks."""
    rendering.MAX_UNITS = 250  # of a message, so that the sandbox's answers have several parts
    client.CALL_SECONDS = streaming.CALL_SECONDS = CALL_SECONDS
    client.CONNECT_SECONDS, client.READ_SECONDS, client.WRITE_SECONDS = 0.8, 1.6, 1.0
    client.TelegramClient.run.__defaults__ = (CALL_SECONDS,)
    client.UPLOAD_SECONDS = 4 * CALL_SECONDS
    queue.LEASE_SECONDS = 6 * CALL_SECONDS
    placeholder.PLACING_SECONDS = 1.2 * CALL_SECONDS
    backend.SENDING_SECONDS = 5 * CALL_SECONDS  # an upload included
    backend.SETTLING_SECONDS = 1.5 * CALL_SECONDS
    backend.NOTICE_AFTER = timedelta(seconds=6)
    streaming.EDIT_INTERVAL_SECONDS = 0.2
    sweeper.GRACE = timedelta(seconds=1)
    retries.MAX_PAUSE_SECONDS = 10
    circuit_breaker.BASE_COOLDOWN_SECONDS, circuit_breaker.MAX_COOLDOWN_SECONDS = 2, 10
    circuit_breaker.ACCESS_COOLDOWN_SECONDS, circuit_breaker.RATE_LIMIT_COOLDOWN_SECONDS = 10, 3
    fallback.MIN_TRY_SECONDS = 1.0
    jobs.ADOPTION_SECONDS = 15
    settings.DEADLINE_SECONDS = {"TEXT": 20, "IMAGE": 40, "VIDEO": 60, "AUDIO": 40}


def shorten_timeouts() -> None:
    """Shorten the providers' time-outs, and make videos cheap enough to be asked for often."""
    for category, seconds in TIMEOUTS.items():
        ProviderConfig.objects.filter(category=category).update(timeout_seconds=seconds)
    AIModel.objects.filter(category="VIDEO").update(token_cost=8)
