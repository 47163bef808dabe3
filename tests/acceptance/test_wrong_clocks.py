"""Workers whose machine's clock is an hour wrong: nothing ends early, nothing is polled for ever."""

import pytest

from providers.models import Attempt
from requests_app.models import Request
from requests_app.services.intake import request_accept
from telegram_bot.updates.ingest import update_ingest
from tests.acceptance.tools import require
from tests.factories import make_account, make_model, make_provider
from tests.flows.processes import sweeper, wait_until, worker
from tests.telegram_bot.updates import message
from tests.wrong_clock import PACKAGE, clock_variables, faketime_library

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


@pytest.fixture(params=["+1h", "-1h"])
def wrong_clock(request) -> dict[str, str]:
    require(faketime_library(), "libfaketime", package=PACKAGE)
    return clock_variables(request.param)


def test_a_chat_is_answered(variables, answered, wrong_clock):
    with worker(**variables, **wrong_clock), sweeper(**variables, **wrong_clock):
        update_ingest(message("Say hello"))
        wait_until(answered, "the answer in the chat")

    assert Request.objects.get().status == "COMPLETED"
    assert Attempt.objects.get().state == "OK"


def test_a_video_is_polled_until_it_is_done(variables, wrong_clock):
    model = make_model(name="Video", slug="video", category="VIDEO")
    make_provider("replicate", category="VIDEO", priority=1, model="kwaivgi/kling-v3-video")
    request = request_accept(intake_key="video", account=make_account(credits=5), model=model, text="A fox runs")
    with worker(**variables, **wrong_clock), sweeper(**variables, **wrong_clock):
        wait_until(lambda: Request.objects.exclude(status__in=Request.OPEN).exists(), "the end of the request")

    request.refresh_from_db()
    assert (request.status, request.error_code) == ("COMPLETED", "")
    assert list(Attempt.objects.values_list("state", flat=True)) == ["OK"]


def test_two_machines_an_hour_apart_answer_everything_once(variables, wrong_clock):
    model, account = make_model(), make_account(credits=50)
    requests = [
        request_accept(intake_key=f"k{number}", account=account, model=model, text="Hello", wakes_worker=False)
        for number in range(3)
    ]
    with worker(**variables), worker(**variables, **wrong_clock), sweeper(**variables, **wrong_clock):
        wait_until(lambda: not Request.objects.filter(status__in=Request.OPEN).exists(), "the end of the requests")

    assert set(Request.objects.values_list("status", flat=True)) == {"COMPLETED"}
    assert Attempt.objects.count() == len(requests)
