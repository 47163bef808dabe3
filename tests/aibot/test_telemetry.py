"""Reports of errors and spans: sent where the environment says, without prompts and keys."""

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import brotli
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fakes.http_server import FakeServer, answer

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
import logging
import django
django.setup()
from providers.chain.spans import request_span

def fail(prompt, key):
    raise ValueError("the provider refuses " + key)

try:
    fail("a private prompt", "sk-a-secret-key")
except ValueError:
    logging.getLogger("providers").exception("The key %s is wrong", "sk-a-secret-key")
with request_span("req_1", "TEXT"):
    pass
"""


@pytest.fixture
def receiver() -> Iterator[FakeServer]:
    server = FakeServer()
    server.will(answer({}))
    yield server
    server.close()


def run_script(tmp_path: Path, **variables: str) -> None:
    fixed = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "aibot.settings", "ENV_FILE": os.devnull}
    own = {"DATA_DIR": str(tmp_path), "SECRET_KEY": "a-key-for-tests-only", "OPENAI_API_KEY": "sk-a-secret-key"}
    subprocess.run([sys.executable, "-c", SCRIPT], env={**fixed, **own, **variables}, cwd=ROOT, check=True, timeout=60)


def test_an_error_is_reported_without_what_was_in_its_variables(receiver, tmp_path):
    run_script(tmp_path, SENTRY_DSN=f"http://public@127.0.0.1:{receiver.port}/1")

    (report,) = receiver.received
    assert report.path == "/api/1/envelope/"
    is_brotli = report.headers.get("content-encoding") == "br"
    text = (brotli if is_brotli else gzip).decompress(report.body).decode()
    assert "The key [hidden] is wrong" in text
    assert "the provider refuses [hidden]" in text
    assert '"function":"fail"' in text
    assert "sk-a-secret-key" not in text
    assert "a private prompt" not in text.replace('fail(\\"a private prompt\\"', "")  # the line of the source itself


def test_spans_are_exported(receiver, tmp_path):
    run_script(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_SERVICE_NAME="my-bot")

    (export,) = receiver.received
    assert export.path == "/v1/traces"
    (resource,) = ExportTraceServiceRequest.FromString(export.body).resource_spans
    assert "my-bot" in [attribute.value.string_value for attribute in resource.resource.attributes]
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["request"]


def test_nothing_leaves_unless_it_is_set(receiver, tmp_path):
    run_script(tmp_path)

    assert receiver.received == []
