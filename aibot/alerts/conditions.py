"""What is worth an alert, as it is at this moment. Nothing is written or told here."""

from collections.abc import Iterator, Mapping

from django.conf import settings

from aibot.alerts.condition import Condition, Remedy, routes_of
from aibot.alerts.money import money_conditions
from aibot.models import Alert
from providers.access import access_to
from providers.chain.candidates import route_candidates
from providers.chain.circuit_breaker import CLEAN, Circuit, Health, circuit_of_route, read_health
from providers.errors import AccessDenied, ModelGone, RequestRejected
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


def service_conditions() -> Iterator[Condition]:
    """Yield what the database says."""
    yield from _processes()
    yield from _routes()
    yield from _quarantine()
    yield from money_conditions(set(Alert.objects.filter(ended_at=None).values_list("key", flat=True)))


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
    refused: dict[Circuit, Health] = {}
    for category in sorted(offered):
        routes = ProviderConfig.objects.in_service().filter(category=category)
        health = read_health(category)
        ready = [candidates for route in routes if (candidates := route_candidates(route, health))]
        for candidates in ready:
            yield from _gone(candidates[0].route, health)
            refused |= {
                circuit: known
                for candidate in candidates
                for circuit, known in candidate.circuits.items()
                if known.error_class == AccessDenied.error_class
            }
        if ready and all(candidate.is_paused for candidates in ready for candidate in candidates):
            yield Condition(
                f"category:{category}",
                f"Every route of {category} is paused",
                "Requests are tried there all the same, and most fail. Admin → Circuits has the reasons.",
                60,
                Remedy.RESUME,
                [candidates[0].route.pk for candidates in ready],
            )
    yield from _refused(refused)


def _gone(route: ProviderConfig, health: Mapping[Circuit, Health]) -> Iterator[Condition]:
    known = health.get(circuit_of_route(route), CLEAN)
    if known.error_class == ModelGone.error_class:
        yield Condition(
            f"model:{route.name}:{route.category}",
            f"{route.label} in {route.category} does not serve the model {route.model}",
            "Put another model id into the route.",
            remedy=Remedy.PAUSE,
            routes=[route.pk],
        )
    if known.error_class == RequestRejected.error_class:
        yield Condition(
            f"rejected:{route.name}:{route.category}",
            f"{route.label} in {route.category} rejects every request alike",
            f"{known.reason}. Correct the route (model, extra body, fields to leave out), then press Resume now.",
            remedy=Remedy.RESUME,
            routes=[route.pk],
        )


def _refused(circuits: Mapping[Circuit, Health]) -> Iterator[Condition]:
    """Yield what only the operator can mend: a wrong key, an empty wallet."""
    for circuit, health in circuits.items():
        yield Condition(
            f"access:{circuit.provider}:{circuit.key_id[:8]}",
            f"{label_of(circuit.provider)} refuses {_key_words(circuit)} or the account",
            f"{health.reason}. Check the key and the balance there, then press Resume now in Admin → Circuits.",
            remedy=Remedy.RESUME,
            routes=routes_of(circuit.provider),
        )


def _key_words(circuit: Circuit) -> str:
    access = access_to(circuit.provider)
    return f"the key {circuit.key_id[:8]}" if access and access.other_keys else "the key"


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
