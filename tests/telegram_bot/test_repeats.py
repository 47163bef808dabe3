"""What an operator does once more: answers are sent again as new messages, requests asked anew in the same chat."""

import threading

import pytest
from django.db import connection
from django.utils import timezone

from requests_app.delivery_backend import get_delivery_backend, version_of
from requests_app.errors import ResendRefused
from requests_app.models import Request
from requests_app.services.execution import request_advance
from requests_app.services.repeats import request_resend, request_retry
from telegram_bot import texts
from telegram_bot.delivery.placeholder import placeholder_place
from telegram_bot.models import Delivery
from tests.factories import make_account, make_chat, make_request

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]

LONG = "A line of a long answer.\n" * 300  # two messages


def make_answer(fake, text: str = LONG) -> Request:
    """Create an answered request that its chat shows."""
    answered = {"status": "COMPLETED", "output_text": text, "actual_provider": "aimlapi"}
    request = make_request(completed_at=timezone.now(), account=make_account(), **answered)
    message_id = fake.execute("sendMessage", {"chat_id": 42, "text": texts.PLACEHOLDER})["message_id"]
    part = {"part": 0, "kind": "RESULT", "state": "PENDING", "chat": make_chat(42), "message_id": message_id}
    Delivery.objects.create(request=request, reply_to=7, **part)
    get_delivery_backend().deliver(request.id)
    return request


def seen(request: Request) -> str:
    return version_of(get_delivery_backend().history([request.id]))


def resend(request: Request, version: str | None = None) -> bool:
    is_due = request_resend(request_id=request.id, seen=seen(request) if version is None else version)
    if is_due:
        get_delivery_backend().deliver(request.id)
    return is_due


def states(request: Request) -> list[str]:
    return list(Delivery.objects.filter(request=request).order_by("part").values_list("state", flat=True))


def test_an_answer_that_was_shown_is_sent_once_more_and_the_first_stays(fake):
    request = make_answer(fake)
    shown = fake.chat(42).texts
    version = seen(request)

    assert resend(request, version)
    assert not resend(request, version)  # the second click of the same page

    assert fake.chat(42).texts == shown * 2
    assert states(request) == ["DELIVERED"] * len(shown)


def test_of_an_answer_that_is_shown_in_part_the_rest_is_sent(fake):
    request = make_answer(fake)
    shown = fake.chat(42).texts
    assert len(shown) > 1
    Delivery.objects.filter(part=1).update(state="UNCERTAIN", message_id=None)

    assert resend(request)

    assert fake.chat(42).texts == [*shown, shown[1]]


def test_words_in_place_of_an_answer_are_replaced_by_it(fake):
    request = make_answer(fake, "Four.")
    Delivery.objects.update(state="UNDELIVERABLE", given_up="NOT_SHOWN", error="away", delivered_at=None)

    assert resend(request)

    assert fake.chat(42).texts == ["Four."]
    assert Delivery.objects.get().given_up == ""
    assert states(request) == ["DELIVERED"]


@pytest.mark.parametrize("state", ["PENDING", "SENDING"])
def test_what_is_under_way_is_not_sent_again(fake, state):
    request = make_answer(fake, "Four.")
    Delivery.objects.update(state=state)

    assert not resend(request)

    assert fake.chat(42).texts == ["Four."]


def test_what_has_no_chat_and_what_is_erased_is_not_sent_again(fake):
    request = make_answer(fake, "Four.")
    version = seen(request)
    Request.objects.update(content_erased_at=timezone.now())
    with pytest.raises(ResendRefused, match="erased"):
        resend(request, version)

    Request.objects.update(content_erased_at=None)
    Delivery.objects.all().delete()
    assert not resend(request, "")


@pytest.mark.django_db(transaction=True)
def test_of_operators_at_once_one_sends_again(fake):
    request = make_answer(fake, "Four.")
    version, barrier = seen(request), threading.Barrier(3)
    outcomes: list[bool] = []

    def send() -> None:
        barrier.wait(10)
        outcomes.append(request_resend(request_id=request.id, seen=version))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    get_delivery_backend().deliver(request.id)

    assert sorted(outcomes) == [False, False, True]
    assert fake.chat(42).texts == ["Four.", "Four."]


def test_a_request_that_is_asked_anew_is_answered_in_the_same_place(
    fake, chain, enqueued, django_capture_on_commit_callbacks
):
    chain(aimlapi=["It is four."])
    request = make_answer(fake, "Three.")
    Request.objects.update(status="FAILED", actual_provider=None, input_text="Two and two?")

    with django_capture_on_commit_callbacks(execute=True):
        again = request_retry(request_id=request.id, actor="admin:ada", reason="Down", seen=request.id)

    assert again
    assert ("telegram_bot.tasks.place", again.id) in enqueued
    assert placeholder_place(request_id=again.id)
    assert fake.chat(42).texts[-1] == texts.PLACEHOLDER
    assert request_advance(request_id=again.id)
    assert fake.chat(42).texts[-1] == "It is four."
    assert fake.chat(42).messages[-1].reply_to == 7
