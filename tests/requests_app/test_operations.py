"""Operations of the admin on the list and on a request's page, as a browser sends them: asked once more, done once."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from requests_app.delivery_backend import DeliveryPart, get_delivery_backend
from requests_app.models import Account, LedgerEntry, Request
from requests_app.services.completion import request_end
from requests_app.services.intake import request_accept
from tests.factories import make_account, make_model, make_request
from tests.html_forms import fields_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued", "memory_backend")]
Status = Request.Status
LIST = "/admin/requests_app/request/"
REASON = "They asked for it"


def page_of(request: Request) -> str:
    return f"{LIST}{request.id}/change/"


def buttons(client: Client, request: Request) -> list[str]:
    return re.findall(r'name="action"\s+value="(\w+)"', client.get(page_of(request)).content.decode())


def press(client: Client, request: Request, name: str) -> dict[str, str]:
    """Press a button of a request's page; return the fields of the page that asks for the reason."""
    shown = fields_of(client.get(page_of(request)).content.decode())
    kept = {name: value for name, value in shown.items() if name in ("_selected_action", "page_of")}
    return fields_of(client.post(LIST, {**kept, "action": name}).content.decode())


def make_accepted(*, credits: int = 20) -> Request:
    account = make_account(credits=credits)
    return request_accept(intake_key=account.key, account=account, model=make_model(token_cost=5), text="Hello")


def make_failed() -> Request:
    request = make_accepted()
    assert request_end(request=request, to=Status.FAILED, error_code="X", actor="worker", reason="")
    request.refresh_from_db()
    return request


def make_answered(**fields) -> Request:
    answered = {"status": "COMPLETED", "actual_provider": "aimlapi", "completed_at": timezone.now()}
    request = make_request(**{**answered, "output_text": "Yes", "credits": 3, **fields})
    entry = {"account": request.user, "request": request, "actor": "system"}
    LedgerEntry.objects.create(kind="HOLD", amount=-3, **entry)
    LedgerEntry.objects.create(kind="CAPTURE", amount=0, **entry)
    return request


def test_a_page_offers_what_can_be_done_to_its_request(admin_client):
    quarantined = make_accepted()
    Request.objects.filter(id=quarantined.id).update(status=Status.QUARANTINED)
    erased = make_answered(content_erased_at=timezone.now())

    assert buttons(admin_client, make_accepted()) == ["cancel"]
    assert buttons(admin_client, quarantined) == ["cancel", "resume", "release"]
    assert buttons(admin_client, make_failed()) == ["retry"]
    assert buttons(admin_client, make_answered()) == ["refund"]  # it was never shown in a chat
    assert buttons(admin_client, erased) == ["refund"]


def test_an_answer_that_was_shown_can_be_sent_again_and_one_that_is_refunded_not_be_refunded(admin_client, monkeypatch):
    request = make_answered()
    shown = DeliveryPart(request.id, 0, timezone.now(), "message 1", "shown", "chat 42")
    monkeypatch.setattr(get_delivery_backend(), "history", lambda request_ids: [shown])
    assert buttons(admin_client, request) == ["resend", "refund"]

    admin_client.post(LIST, {**press(admin_client, request, "refund"), "reason": REASON})

    assert buttons(admin_client, request) == ["resend"]


def test_the_page_that_asks_leads_back_to_where_it_was_begun(admin_client):
    request = make_accepted()
    action = {"action": "cancel", "_selected_action": request.id}

    from_page = admin_client.post(LIST, {**action, "page_of": request.id}).content.decode()
    from_list = admin_client.post(f"{LIST}?status__exact=PENDING", action).content.decode()

    assert re.search(rf'href="{page_of(request)}"[^>]*>\s*Back', from_page)
    assert re.search(rf'href="{re.escape(LIST)}\?status__exact=PENDING"[^>]*>\s*Back', from_list)


@pytest.mark.parametrize("is_on_page", [False, True])
def test_where_nothing_can_be_done_it_is_said_where_it_was_begun(admin_client, is_on_page):
    request = make_answered()
    begun_at = page_of(request) if is_on_page else f"{LIST}?status__exact=COMPLETED"
    action = {"action": "cancel", "_selected_action": request.id, "page_of": request.id if is_on_page else ""}

    answer = admin_client.post(f"{LIST}?status__exact=COMPLETED", action)

    assert answer.headers["Location"] == begun_at
    assert "There is nothing to do" in admin_client.get(begun_at).content.decode()


def test_who_may_only_look_is_offered_nothing_and_can_do_nothing(client):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_request"))
    client.force_login(viewer)
    request = make_failed()

    assert buttons(client, request) == []
    for name in ("retry", "release", "resend", "refund", "cancel"):
        client.post(LIST, {"action": name, "_selected_action": request.id, "reason": REASON, f"seen-{request.id}": "0"})

    assert Request.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_asking_anew_takes_a_permission_of_its_own(client):
    helper = User.objects.create_user("helper", is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename__in=["view_request", "change_request"]))
    client.force_login(helper)
    request = make_failed()

    assert buttons(client, request) == []
    client.post(
        LIST, {"action": "retry", "_selected_action": request.id, "reason": REASON, f"seen-{request.id}": "0" * 32}
    )
    assert Request.objects.count() == 1

    helper.user_permissions.add(Permission.objects.get(codename="retry_requests"))
    assert buttons(client, request) == ["retry"]
    client.post(LIST, {**press(client, request, "retry"), "reason": REASON})
    assert Request.objects.count() == 2


def test_a_button_asks_for_the_reason_and_leads_back_to_the_page(admin_client):
    request = make_accepted()
    form = press(admin_client, request, "cancel")
    assert Request.objects.get().status == "PENDING"

    response = admin_client.post(LIST, {**form, "reason": REASON})

    assert response.headers["Location"] == page_of(request)
    request.refresh_from_db()
    assert request.status == "CANCELLED"
    page = admin_client.get(page_of(request)).content.decode()
    assert "1 cancelled" in page
    assert page.count(REASON) >= 3  # the event, the release of the credits, the operator's entry


def test_a_retry_is_made_once_by_a_double_click_and_known_to_both_pages(admin_client):
    request = make_failed()
    form = {**press(admin_client, request, "retry"), "reason": REASON}

    for _ in range(2):
        admin_client.post(LIST, form)

    again = Request.objects.exclude(id=request.id).get()
    assert (again.status, again.user_id) == ("PENDING", request.user_id)
    assert again.id in admin_client.get(page_of(request)).content.decode()
    assert request.id in admin_client.get(page_of(again)).content.decode()
    assert LogEntry.objects.count() == 1


def test_a_refusal_is_told_in_words(admin_client):
    request = make_failed()
    Account.objects.update(is_blocked=True)
    form = {**press(admin_client, request, "retry"), "reason": REASON}

    page = admin_client.post(LIST, form, follow=True).content.decode()

    assert "0 asked anew" in page
    assert f"This account is blocked. Ask the operator of this service. ({request.id})" in page


@pytest.mark.parametrize("seen", ["", "\x00", "é" * 300, "0" * 31])
def test_a_form_that_was_tampered_with_is_no_error(admin_client, seen):
    request = make_failed()
    form = {"action": "retry", "_selected_action": request.id, "reason": REASON, f"seen-{request.id}": seen}

    page = admin_client.post(LIST, form, follow=True)

    assert page.status_code == 200
    assert "0 asked anew" in page.content.decode()
    assert Request.objects.count() == 1


def test_sending_again_takes_along_what_the_operator_saw(admin_client, monkeypatch):
    request = make_answered()
    backend, versions = get_delivery_backend(), []
    part = DeliveryPart(request.id, 0, timezone.now(), "message 1", "sent without a confirmation", "chat 42", version=7)
    monkeypatch.setattr(backend, "history", lambda request_ids: [part])
    monkeypatch.setattr(backend, "resend", lambda request_id, seen: bool(versions.append((request_id, seen))) or True)
    asked = admin_client.post(LIST, {"action": "resend", "_selected_action": request.id}).content.decode()
    assert "sent without a confirmation" in asked

    page = admin_client.post(LIST, {**fields_of(asked), "reason": REASON}, follow=True).content.decode()

    assert "1 sent again" in page
    assert versions == [(request.id, "0:7")]
    assert LogEntry.objects.get().change_message == f"Sent again: {REASON}"


def test_several_are_released_with_one_reason(admin_client):
    requests = [make_accepted(credits=10) for _ in range(2)]
    soon = timezone.now() + timedelta(days=1)
    Request.objects.update(status=Status.QUARANTINED, deadline_at=soon)
    selected = [request.id for request in requests]
    asked = admin_client.post(LIST, {"action": "release", "_selected_action": selected}).content.decode()
    assert all(request_id in asked for request_id in selected)

    form = {**fields_of(asked), "_selected_action": selected, "reason": REASON}
    outcomes = [admin_client.post(LIST, form, follow=True).content.decode() for _ in range(2)]

    assert ["2 released" in outcomes[0], "0 released" in outcomes[1]] == [True, True]
    assert set(Request.objects.values_list("status", flat=True)) == {"FAILED"}
    assert set(Account.objects.values_list("balance", flat=True)) == {10}
