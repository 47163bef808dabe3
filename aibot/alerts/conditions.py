"""What is worth an alert, as it is at this moment. Nothing is written or told here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings

from providers.chain.candidates import provider_for
from providers.chain.circuit_breaker import CLEAN, CircuitState, Health, read_health
from providers.errors import AccessDenied, ModelGone
from providers.models import ProviderConfig
from providers.registry import label_of
from providers.transport.deadlines import Deadline
from requests_app.models import AIModel, Request
from requests_app.selectors import unfinished_by_status
from requests_app.services.heartbeats import processes_at_work
from telegram_bot.api.errors import TokenRefused
from telegram_bot.bot_status import bot_status

TELEGRAM_SECONDS = 5.0  # for all its calls
WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be."""

    key: str  # the same for as long as it lasts
    title: str
    advice: str  # what the operator can do
    patience_seconds: int = 0  # for which it may last before anybody is told


def service_conditions() -> Iterator[Condition]:
    """Yield what the database says."""
    yield from _processes()
    yield from _routes()
    yield from _quarantine()


def _processes() -> Iterator[Condition]:
    at_work = processes_at_work()
    if not at_work.workers:
        yield Condition(
            "no-worker", "Nobody works: no worker is running", "Updates are stored and wait. Start a worker.", 60
        )
    for queue in [queue for queue, workers in at_work.by_queue.items() if at_work.workers and not workers]:
        yield Condition(
            f"no-worker:{queue}",
            f"Nobody works for the queue {queue}",
            "Start a worker that serves it; one without -Q serves all.",
            60,
        )
    if not at_work.sweepers:
        yield Condition("no-sweeper", "No sweeper is running", "Without it overdue requests do not end. Start one.", 60)


def _routes() -> Iterator[Condition]:
    offered = set(AIModel.objects.filter(enabled=True).values_list("category", flat=True))
    for category in sorted(offered):
        routes = ProviderConfig.objects.filter(category=category, enabled=True)
        health = read_health(category)
        states = [(route, health.get(route.provider, CLEAN)) for route in routes if provider_for(route)]
        yield from _refused(category, states)
        if states and all(known.state is not CircuitState.CLOSED for _, known in states):
            yield Condition(
                f"category:{category}",
                f"Every route of {category} is paused",
                "Requests are tried there all the same, and most fail. Admin → Providers' health has the reasons.",
                60,
            )


def _refused(category: str, states: Sequence[tuple[ProviderConfig, Health]]) -> Iterator[Condition]:
    """Yield what only the operator can mend: a wrong key, an empty wallet, a retired model."""
    for route, health in states:
        name = f"{label_of(route.provider)} in {category}"
        if health.error_class == AccessDenied.error_class:
            yield Condition(
                f"access:{route.provider}:{category}",
                f"{name} refuses the key or the account",
                f"{health.reason}. Check the key and the balance there, then press Resume now in Providers' health.",
            )
        elif health.error_class == ModelGone.error_class:
            yield Condition(
                f"model:{route.provider}:{category}",
                f"{name} does not serve the model {route.model}",
                "Put another model id into the route.",
            )


def _quarantine() -> Iterator[Condition]:
    waiting = unfinished_by_status()[Request.Status.QUARANTINED]
    if waiting:
        yield Condition(
            "quarantine",
            f"{waiting} {'request waits' if waiting == 1 else 'requests wait'} for your decision",
            "Eight workers made no progress. Admin → Requests → Resume or Cancel, or the credits go back in a day.",
        )


def webhook_condition() -> Condition | None:
    """Return what keeps updates away according to Telegram. Raises BotApiError where it did not say."""
    if not settings.TELEGRAM_BOT_TOKEN:
        return None
    try:
        status = bot_status(deadline=Deadline.after(TELEGRAM_SECONDS))
    except TokenRefused:
        return Condition(WEBHOOK, "Telegram refuses the bot's token", "Get a new one from @BotFather.")
    if not status.problems:
        return None
    return Condition(WEBHOOK, "Telegram's updates do not arrive", " ".join(status.problems), 120)
