"""The metrics for Prometheus, read from the database at each scrape, so that every process returns the same."""

from collections.abc import Iterable, Iterator, Sequence

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from providers.chain.circuit_breaker import CLEAN, Circuit, CircuitState, circuits_of_keys, read_health
from providers.statistics.selectors import ProviderStats, provider_stats
from providers.types import Category
from requests_app.selectors import credits_outstanding, oldest_due_seconds, unfinished_by_status
from requests_app.services.heartbeats import processes_at_work
from requests_app.services.maintenance import maintenance_mode
from telegram_bot.selectors import MAX_COUNTED, Backlog, deliveries_unfinished, updates_held_back, updates_unhandled

LABELS = ["category", "provider", "route"]


class DatabaseCollector(Collector):
    """Turns the statistics and the state of the queue into metrics."""

    def collect(self) -> Iterator[Metric]:
        stats = provider_stats()
        yield from _attempts(stats)
        yield _open_circuits(stats)
        yield from _requests()

    def describe(self) -> Sequence[Metric]:
        return []  # otherwise registering would read the database once more


def _attempts(stats: Sequence[ProviderStats]) -> Iterator[Metric]:
    # A failed call may turn out to be answered, so failures can become fewer, which a counter must not. In rates use
    # attempts minus successes.
    attempts = CounterMetricFamily("aibot_attempts", "Finished attempts.", labels=LABELS)
    successes = CounterMetricFamily("aibot_attempt_successes", "Attempts that returned an answer.", labels=LABELS)
    failures = GaugeMetricFamily("aibot_attempt_failures", "Finished attempts without an answer.", labels=LABELS)
    costs = CounterMetricFamily("aibot_cost_usd", "Known cost in USD.", labels=LABELS)
    unknown = GaugeMetricFamily("aibot_unknown_costs", "Attempts that may be billed at an unknown cost.", labels=LABELS)
    for row in stats:
        labels = [row.category, row.provider, row.route]
        attempts.add_metric(labels, row.requests)
        successes.add_metric(labels, row.successes)
        failures.add_metric(labels, row.failures)
        costs.add_metric(labels, float(row.total_cost))
        unknown.add_metric(labels, row.unknown_costs)
    yield from (attempts, successes, failures, costs, unknown)


def _open_circuits(stats: Sequence[ProviderStats]) -> Metric:
    open_circuits = GaugeMetricFamily("aibot_circuit_open", "1 while the circuit breaker is open.", labels=LABELS)
    health = {category.value: read_health(category.value) for category in Category}
    for row in stats:
        known = health[row.category]
        circuits = [Circuit(row.provider, row.category, row.route), *circuits_of_keys(row.provider)]
        is_open, *are_keys_open = [known.get(each, CLEAN).state is CircuitState.OPEN for each in circuits]
        value = is_open or (bool(are_keys_open) and all(are_keys_open))
        open_circuits.add_metric([row.category, row.provider, row.route], value)
    return open_circuits


def _requests() -> Iterator[Metric]:
    open_requests = GaugeMetricFamily("aibot_requests_open", "Requests that have not ended.", labels=["status"])
    for status, number in unfinished_by_status().items():
        open_requests.add_metric([status], number)
    yield open_requests
    yield GaugeMetricFamily(
        "aibot_oldest_due_seconds",
        "How long the oldest due request has waited for a worker.",
        value=oldest_due_seconds(),
    )
    yield from _backlog(
        "aibot_updates_unhandled",
        "aibot_oldest_update_seconds",
        "Updates that no worker has handled",
        updates_unhandled(),
    )
    yield GaugeMetricFamily(
        "aibot_maintenance", "1 while maintenance mode holds prompts back.", value=maintenance_mode() is not None
    )
    yield GaugeMetricFamily(
        "aibot_updates_held_back",
        f"Prompts that wait for the end of maintenance mode or for their turn; {MAX_COUNTED} means that or more.",
        value=updates_held_back().order_by().values("pk")[:MAX_COUNTED].count(),
    )
    yield from _backlog(
        "aibot_deliveries_unfinished",
        "aibot_oldest_delivery_seconds",
        "Ends of requests that are not shown in their chats",
        deliveries_unfinished(),
    )
    processes = GaugeMetricFamily("aibot_processes", "Processes that have shown a sign of life.", labels=["kind"])
    at_work = processes_at_work()
    processes.add_metric(["worker"], at_work.workers)
    processes.add_metric(["sweeper"], at_work.sweepers)
    yield processes
    workers = GaugeMetricFamily("aibot_queue_workers", "Workers at work that serve a queue.", labels=["queue"])
    for queue, number in at_work.by_queue.items():
        workers.add_metric([queue], number)
    yield workers
    yield GaugeMetricFamily(
        "aibot_credits_outstanding", "Credits that users may still spend.", value=credits_outstanding()
    )


def _backlog(rows: str, oldest: str, what: str, backlog: Backlog) -> Iterator[Metric]:
    yield GaugeMetricFamily(rows, f"{what}; {MAX_COUNTED} means that or more.", value=backlog.count())
    yield GaugeMetricFamily(oldest, f"{what}: for how long the oldest has waited.", value=backlog.oldest_seconds())


class AnyClient(DefaultContentNegotiation):
    """Ignores the Accept header: a scraper asks for formats that only it knows."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


@extend_schema(exclude=True)
class MetricsView(APIView):
    """The metrics in Prometheus's text format. A scraper sends `Authorization: Token …`."""

    content_negotiation_class = AnyClient

    def get(self, request: Request) -> HttpResponse:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(DatabaseCollector())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
