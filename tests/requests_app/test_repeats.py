"""Requests asked anew and quarantined ones released: each once, by whichever operator comes first."""

import threading
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from providers.storage import store_image
from requests_app.errors import AccountBlocked, InsufficientCredits, ResendRefused, RetryRefused, UnknownModel
from requests_app.models import Account, LedgerEntry, Request
from requests_app.services.cancellation import request_release
from requests_app.services.completion import request_end
from requests_app.services.intake import request_accept
from requests_app.services.repeats import latest_asking, request_resend, request_retry
from requests_app.services.retention import content_erase
from tests.factories import make_account, make_model
from tests.providers.answers import PNG

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]
Status = Request.Status


def make_failed(*, credits: int = 20, **fields) -> Request:
    account, model = make_account(credits=credits), make_model(token_cost=5, options={"max_output_tokens": 300})
    request = request_accept(intake_key=account.key, account=account, model=model, text="Say hello", **fields)
    assert request_end(request=request, to=Status.FAILED, error_code="X", actor="worker", reason="")
    request.refresh_from_db()
    return request


def retry(request: Request, *, seen: str | None = None) -> Request | None:
    seen = latest_asking(request) if seen is None else seen
    return request_retry(request_id=request.id, actor="admin:ada", reason="It works now", seen=seen)


def balance(request: Request) -> int:
    return Account.objects.get(id=request.user_id).balance


def test_a_failed_request_is_asked_anew_as_it_was(memory_backend, enqueued, django_capture_on_commit_callbacks):
    earlier = make_failed(conversation="chat:1")
    model = earlier.model
    model.options, model.token_cost = {"max_output_tokens": 900}, 7
    model.save()

    with django_capture_on_commit_callbacks(execute=True):
        request = retry(earlier)

    assert request is not None
    assert (request.status, request.input_text, request.conversation) == ("PENDING", "Say hello", "chat:1")
    assert request.options == {"max_output_tokens": 300}  # its own, at today's price
    assert (request.credits, balance(request)) == (7, 13)
    event = request.events.get()
    assert (event.actor, event.reason) == ("admin:ada", f"{earlier.id} asked anew: It works now")
    assert memory_backend.adopted == [(request.id, earlier.id)]
    assert ("requests_app.tasks.advance", request.id) in enqueued


def test_what_an_operator_has_not_seen_asked_anew_is_not_asked_twice(memory_backend):
    earlier = make_failed()

    request = retry(earlier, seen=earlier.id)
    assert request
    assert retry(earlier, seen=earlier.id) is None  # a second click, or another operator's page from before
    with pytest.raises(RetryRefused, match="being asked anew already"):
        retry(earlier, seen=request.id)

    assert request_end(request=request, to=Status.FAILED, error_code="X", actor="worker", reason="")
    assert retry(earlier, seen=earlier.id) is None
    assert retry(earlier, seen=request.id)
    assert Request.objects.count() == 3


def test_a_retry_of_a_retry_is_one_of_the_first_request(memory_backend):
    earlier = make_failed()
    first = retry(earlier)
    assert request_end(request=first, to=Status.FAILED, error_code="X", actor="worker", reason="")

    second = retry(first, seen=first.id)

    assert second
    assert retry(earlier, seen=first.id) is None  # an operator on the page of the first request, opened before
    with pytest.raises(RetryRefused, match="being asked anew already"):
        retry(earlier)
    assert Request.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_operators_at_once_one_asks_anew(memory_backend):
    earlier, barrier = make_failed(), threading.Barrier(3)
    outcomes: list[str] = []

    def ask() -> None:
        barrier.wait(10)
        try:
            outcomes.append("asked" if retry(earlier, seen=earlier.id) else "known")
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(outcomes) == ["asked", "known", "known"]
    assert balance(earlier) == 15


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda request: Request.objects.filter(id=request.id).update(status="REJECTED"), RetryRefused),
        (lambda request: content_erase(requests=Request.objects.filter(id=request.id)), RetryRefused),
        (lambda request: Account.objects.update(is_blocked=True), AccountBlocked),
        (lambda request: Account.objects.update(balance=4), InsufficientCredits),
        (lambda request: type(request.model).objects.update(enabled=False), UnknownModel),
    ],
    ids=["of another status", "erased", "blocked", "too few credits", "disabled"],
)
def test_what_cannot_be_asked_anew_is_refused_in_words_and_nothing_is_written(memory_backend, change, error):
    earlier = make_failed()
    change(earlier)

    with pytest.raises(error, match=r"\w+ .+\."):
        retry(earlier)

    assert Request.objects.count() == 1
    assert not LedgerEntry.objects.filter(kind="HOLD").exclude(request=earlier).exists()


@pytest.mark.parametrize("seen", ["", "x" * 32, "0" * 200, "\x00"])
def test_a_form_that_was_tampered_with_asks_nothing(memory_backend, seen):
    assert retry(make_failed(), seen=seen) is None
    assert Request.objects.count() == 1


def test_its_files_are_copied_and_kept_when_the_earlier_ones_are_erased(memory_backend):
    stored = store_image(content=PNG, key=f"test-{uuid4().hex}")
    assert stored
    earlier = make_failed(input_media=[stored])

    request = retry(earlier)
    assert content_erase(requests=Request.objects.filter(id=earlier.id)) == 1

    assert request
    (copy,) = request.input_media
    assert copy["name"] != stored.name
    with default_storage.open(copy["name"]) as file:
        assert file.read() == PNG


def test_refused_it_leaves_no_copies(memory_backend, monkeypatch):
    stored = store_image(content=PNG, key=f"test-{uuid4().hex}")
    assert stored
    earlier, deleted = make_failed(input_media=[stored]), []
    Account.objects.update(balance=0)
    monkeypatch.setattr(default_storage, "delete", deleted.append)

    with pytest.raises(InsufficientCredits):
        retry(earlier)

    assert len(deleted) == 1
    assert deleted != [stored.name]


def test_without_its_files_it_is_refused(memory_backend):
    stored = store_image(content=PNG, key=f"test-{uuid4().hex}")
    assert stored
    earlier = make_failed(input_media=[stored])
    default_storage.delete(stored.name)

    with pytest.raises(RetryRefused, match="cannot be copied"):
        retry(earlier)


def test_a_quarantined_request_is_released_once(memory_backend, enqueued, django_capture_on_commit_callbacks):
    account = make_account(credits=20)
    request = request_accept(intake_key="k", account=account, model=make_model(token_cost=5), text="Hi")
    release = {"request_id": request.id, "actor": "admin:ada", "reason": "It never ends"}
    assert not request_release(**release)
    Request.objects.update(status=Status.QUARANTINED)

    with django_capture_on_commit_callbacks(execute=True):
        assert request_release(**release)
    assert not request_release(**release)

    request.refresh_from_db()
    assert (request.status, request.error_code, balance(request)) == ("FAILED", "RELEASED", 20)
    entry = LedgerEntry.objects.get(kind="RELEASE")
    assert (entry.amount, entry.reason) == (5, "It never ends")
    event = request.events.last()
    assert (event.from_status, event.to_status, event.actor, event.reason) == (
        "QUARANTINED",
        "FAILED",
        "admin:ada",
        "It never ends",
    )
    assert ("requests_app.tasks.deliver", request.id) in enqueued


def test_only_an_answer_that_is_still_known_is_sent_again(memory_backend):
    with pytest.raises(ResendRefused, match="Only an answered request"):
        request_resend(request_id=make_failed().id, seen="")
