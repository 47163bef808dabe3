"""kill -9 of a worker in the middle of an answer: the next worker finishes it, and it is charged once."""

import pytest

from providers.models import Attempt
from providers.sandbox import running_sandbox
from requests_app.models import Request
from requests_app.services.intake import request_accept
from tests.factories import make_account, make_model, make_provider
from tests.flows.processes import sweeper, wait_until, worker

pytestmark = pytest.mark.django_db(transaction=True)


def trail(request: Request) -> list[tuple[str, str, str]]:
    attempts = Attempt.objects.filter(caller_key=request.id).order_by("number")
    return list(attempts.values_list("provider", "state", "error_class"))


def has_ended(request: Request) -> bool:
    return not Request.objects.filter(id=request.id, status__in=Request.OPEN).exists()


def test_the_request_of_a_killed_worker_is_answered_by_the_next_and_charged_once():
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    make_provider("piapi", priority=2, model="gpt-5.2")
    with running_sandbox() as sandbox:
        variables = {"SANDBOX_URL": sandbox.url}
        sandbox.break_provider("aimlapi", "hang")
        request = request_accept(intake_key="k", account=make_account(credits=5), model=make_model(), text="Hello")
        with worker(**variables) as victim, sweeper(**variables):
            wait_until(lambda: trail(request) == [("aimlapi", "SENDING", "")], "the call to aimlapi")
            victim.kill()
            victim.wait()
            with worker(**variables):
                wait_until(lambda: has_ended(request), "the end")

    request.refresh_from_db()
    assert (request.status, request.actual_provider) == ("COMPLETED", "piapi")
    assert trail(request) == [("aimlapi", "UNKNOWN", "WorkerLost"), ("piapi", "OK", "")]
    assert list(request.ledger.order_by("id").values_list("kind", flat=True)) == ["HOLD", "CAPTURE"]
    assert list(request.events.values_list("to_status", flat=True)) == ["PENDING", "PROCESSING", "COMPLETED"]


def test_a_request_without_a_worker_is_delayed_and_not_lost():
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    with running_sandbox() as sandbox:
        request = request_accept(
            intake_key="k", account=make_account(credits=5), model=make_model(), text="Hello", wakes_worker=False
        )
        with worker(SANDBOX_URL=sandbox.url), sweeper(SANDBOX_URL=sandbox.url):
            wait_until(lambda: has_ended(request), "the end")

    request.refresh_from_db()
    assert request.status == "COMPLETED"
