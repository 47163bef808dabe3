"""OpenTelemetry's spans of requests and attempts, named by its conventions for generative AI (read in November 2026).

Without a receiver (aibot/telemetry.py) one costs a few microseconds and goes nowhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from providers.errors import ProviderError
from providers.models import ProviderConfig
from providers.types import Category, Job, MediaResult, TextResult

tracer = trace.get_tracer("aibot")


@contextmanager
def request_span(request_id: str, category: str) -> Iterator[None]:
    """Record the work of one worker on a request."""
    attributes = {"aibot.request.id": request_id, "aibot.category": category}
    with tracer.start_as_current_span("request", attributes=attributes, record_exception=False):
        yield


@contextmanager
def attempt_span(route: ProviderConfig, attempt_id: object) -> Iterator[Span]:
    """Record one call of a provider, and the class of the error by which it ends, without the provider's words."""
    operation = "chat" if route.category == Category.TEXT else "generate_content"
    with tracer.start_as_current_span(
        f"{operation} {route.model}",
        kind=SpanKind.CLIENT,
        attributes={
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": route.provider,
            "gen_ai.request.model": route.model,
            "aibot.attempt.id": str(attempt_id),
        },
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except ProviderError as error:
            span.set_attribute("error.type", error.error_class)
            span.set_status(Status(StatusCode.ERROR))
            raise


def note_outcome(span: Span, outcome: TextResult | MediaResult | Job) -> None:
    """Add what the call used, where the provider has said so."""
    if isinstance(outcome, Job):
        return
    counts = {"input": outcome.usage.input_tokens, "output": outcome.usage.output_tokens}
    for direction, tokens in counts.items():
        if tokens is not None:
            span.set_attribute(f"gen_ai.usage.{direction}_tokens", tokens)
