"""OpenTelemetry's spans: one for a worker's work on a request, and below it one for each call of a provider."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from providers.errors import AccessDenied
from providers.models import Attempt
from providers.types import TextResult, Usage
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from tests.factories import make_account, make_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def exporter(monkeypatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("providers.chain.spans.tracer", provider.get_tracer("test"))
    return exporter


def test_they_say_who_was_asked_and_how_it_ended_and_nothing_of_the_prompt(exporter, chain, memory_backend, enqueued):
    answer = TextResult("A private answer", Usage(input_tokens=7, output_tokens=3))
    chain(aimlapi=[AccessDenied("words of the provider")], piapi=[answer])
    request = request_accept(intake_key="k", account=make_account(), model=make_model(), text="A private prompt")

    request_advance(request_id=request.id)

    failed, succeeded, whole = exporter.get_finished_spans()
    first, second = Attempt.objects.order_by("number")
    assert (whole.name, dict(whole.attributes)) == (
        "request",
        {"aibot.request.id": request.id, "aibot.category": "TEXT"},
    )
    assert dict(failed.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aimlapi",
        "gen_ai.request.model": first.model,
        "aibot.attempt.id": str(first.id),
        "error.type": "AccessDenied",
    }
    assert succeeded.name == f"chat {second.model}"
    assert succeeded.attributes["gen_ai.usage.input_tokens"] == 7
    assert succeeded.attributes["gen_ai.usage.output_tokens"] == 3
    assert {span.parent.span_id for span in (failed, succeeded)} == {whole.context.span_id}
    assert not any("private" in span.to_json() or "words" in span.to_json() for span in (failed, succeeded, whole))
