"""The API against its own OpenAPI document: schemathesis asks whatever the document allows, and what it forbids."""

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.internal.conjecture.providers import Constants
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from aibot.api_tokens import token_create
from aibot.models import Scope
from tests.factories import make_account, make_attempt, make_request

pytestmark = pytest.mark.django_db
# Without a token nobody looks at the parameters.
CHECKS_OF_REFUSALS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
CHECKS = [*CHECKS_OF_REFUSALS, negative_data_rejection]
EXAMPLES = 10  # of each operation and mode
HEADERS = {"Host": "localhost"}


@pytest.fixture
def schema(monkeypatch, settings):
    """The document as the server gives it, and rows in every list."""
    monkeypatch.setattr("aibot.api_throttles.NamedRate.THROTTLE_RATES", {"records": "9999/s", "exports": "9999/s"})
    # Else the examples contain words of whichever modules are imported, and every selection of tests has its own.
    monkeypatch.setattr("hypothesis.internal.conjecture.providers._get_local_constants", Constants)
    owner = User.objects.create_superuser("owner")
    _, key = token_create(name="test", made_by=owner, scopes=Scope, expires_at=None)
    request = make_request(account=make_account(name="=1+1"))
    make_attempt(caller_key=request.id, cost=None)
    headers = {**HEADERS, "Authorization": f"Bearer {key}"}
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)  # as Django's own test client does
    config = schemathesis.Config.from_dict(
        {"generation": {"allow-x00": False}}
    )  # no address has one, whatever it names
    yield schemathesis.openapi.from_wsgi("/api/schema", get_wsgi_application(), config=config, headers=headers), headers
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def ask(operation, mode, checks, headers, statuses=None) -> None:
    """Send an operation's examples, each the same in every run, and check every answer."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        response = case.call(headers=headers)
        case.validate_response(response, checks=checks)
        assert statuses is None or response.status_code in statuses

    send()


def test_every_operation_answers_as_its_document_says(schema):
    document, headers = schema
    operations = [each.ok() for each in document.get_all_operations()]

    for operation in operations:
        ask(operation, GenerationMode.POSITIVE, CHECKS, headers)
        if len(operation.query):
            ask(operation, GenerationMode.NEGATIVE, CHECKS, headers)

    assert len(operations) == 18


def test_every_operation_refuses_a_stranger_as_its_document_says(schema):
    document, _ = schema
    for operation in [each.ok() for each in document.get_all_operations()]:
        ask(operation, GenerationMode.POSITIVE, CHECKS_OF_REFUSALS, HEADERS, statuses={401})
