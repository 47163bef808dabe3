"""Reports of errors to Sentry and spans to OpenTelemetry, each only where the environment names its receiver.

Both leave through threads of their own, and neither waits for its receiver. Neither contains a prompt, an answer or a
key: of an error its stack without the values of variables, of a call which provider and model it asked, and what for.
"""

import logging
from typing import Any

from django.conf import settings

from aibot.redaction import redact

SHUTDOWN_SECONDS = 2


def telemetry_start() -> None:
    """Start what is set. Once in each process, after a fork."""
    if settings.SENTRY_DSN:
        _start_error_reports()
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        _start_spans()


def _start_error_reports() -> None:
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger

    # Whatever fails is logged, so the log is all that is read. Sentry's other sources record addresses, which contain
    # the bot's token, and the values of variables, which contain prompts and keys.
    sentry_sdk.init(
        settings.SENTRY_DSN,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=None, event_level=logging.ERROR),
            AtexitIntegration(lambda *_: None),  # what waits is sent when the process ends, without a word
        ],
        include_local_variables=False,
        send_default_pii=False,
        max_breadcrumbs=0,
        before_send=_redacted,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    ignore_logger("django.security.*")  # which anybody may cause by the thousand


def _redacted(event: Any, _: Any = None) -> Any:
    """Return the event with every text in it redacted."""
    if isinstance(event, str):
        return redact(event)
    if isinstance(event, dict):
        return {key: _redacted(value) for key, value in event.items()}
    if isinstance(event, list | tuple):
        return [_redacted(value) for value in event]
    return event


def _start_spans() -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource({SERVICE_NAME: "aibot"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # which reads OTEL_EXPORTER_OTLP_…
    trace.set_tracer_provider(provider)
