"""Erasing a user: content, files and names go, credits and sums stay, and whatever interrupts it, a repeat finishes."""

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import telegram
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.forms.models import model_to_dict
from django.utils import timezone

from requests_app.analytics.accounts import account_figures
from requests_app.errors import EraseUnfinished
from requests_app.models import ERASED, Account, LedgerEntry, Request
from requests_app.services import erasure
from requests_app.services.erasure import account_erase
from requests_app.services.intake import request_accept
from telegram_bot.chats import user_ensure
from telegram_bot.models import TelegramUpdate, TelegramUser
from telegram_bot.updates.ingest import update_ingest
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_account, make_model, make_request, make_user
from tests.html_forms import fields_of
from tests.row_locks import needs_row_locks, row_locked_by_another
from tests.telegram_bot.updates import message

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]
LIST = "/admin/requests_app/account/"
REASON = "They asked for it"
CANARY = "canary"


def stored(name: str) -> dict[str, str]:
    return {"name": default_storage.save(name, ContentFile(b"content")), "content_type": "image/png"}


def make_ended(account: Account, **fields) -> Request:
    ended = {"status": "COMPLETED", "actual_provider": "aimlapi", "completed_at": timezone.now()}
    content = {"input_text": CANARY, "transcript": CANARY, "output_text": CANARY}
    return make_request(account=account, **{**ended, **content, **fields})


@pytest.fixture
def ada() -> Account:
    """A user of the chat with answered requests, one under way, files, updates, and a history in the admin."""
    account = make_account(key="telegram:1:42", name="Ada canary", credits=50)
    make_user(42, account=account, name="Ada canary", username="canary", language="en")
    for _ in range(3):
        make_ended(account)
    make_ended(account, input_media=[stored("prompts/ada.png")], output_media=[stored("outputs/ada.png")])
    request_accept(intake_key="open", account=account, model=make_model(token_cost=5), text=CANARY)
    update_ingest(message(CANARY))
    update_ingest(message(CANARY, chat_id=-100))
    TelegramUpdate.objects.filter(chat__telegram_id=42).update(handled_at=timezone.now(), outcome="done")
    operator = User.objects.create_user("anna")
    LogEntry.objects.log_actions(operator.pk, [account], 2, "Blocked: noise", single_object=True)
    return account


def erase(account: Account) -> bool:
    return account_erase(account_id=account.pk, actor="admin:anna", reason=REASON)


def file_names(account: Account) -> list[str]:
    requests = Request.objects.filter(user=account)
    return [file["name"] for request in requests for file in (*request.input_media, *request.output_media)]


def remains() -> list[str]:
    """Return where the canary still sings."""
    rows = [*Request.objects.all(), *Account.objects.all(), *TelegramUser.objects.all(), *TelegramUpdate.objects.all()]
    return [repr(row) for row in (*rows, *LogEntry.objects.all()) if CANARY in str(model_to_dict(row))]


def test_content_files_and_names_go_and_credits_and_sums_stay(ada):
    other = make_ended(make_account(), input_text="not theirs")
    names = file_names(ada)
    before = [(entry.pk, entry.amount) for entry in ada.ledger.all()]
    assert len(remains()) == 11
    assert all(map(default_storage.exists, names))

    assert erase(ada)

    assert [row for row in remains() if row != repr(other)] == []
    assert not any(map(default_storage.exists, names))
    requests = Request.objects.filter(user=ada)
    assert set(requests.values_list("input_text", "status")) == {(ERASED, "COMPLETED"), (ERASED, "CANCELLED")}
    assert [(entry.pk, entry.amount) for entry in ada.ledger.all()][-len(before) :] == before
    ada.refresh_from_db()
    assert (ada.key, ada.name, ada.balance) == ("telegram:1:42", "", 50)
    assert account_figures(ada).in_all.requests == 5
    other.refresh_from_db()
    assert other.input_text == "not theirs"
    assert not erase(ada)


def test_a_prompt_that_waits_is_dropped_and_a_later_one_is_accepted_with_the_same_balance(ada):
    group = TelegramUpdate.objects.get(handled_at=None)
    erase(ada)
    group.refresh_from_db()
    assert (group.raw, group.outcome, queue_drain(chat_id=group.chat_id)) == ({}, "erased", 0)

    user = user_ensure(sender=telegram.User(id=42, first_name="Ada", is_bot=False))

    assert (user.account_id, user.account.balance, user.account.is_blocked) == (ada.pk, 50, False)
    assert TelegramUser.objects.get().name == "Ada"


def test_what_is_interrupted_is_finished_by_a_repeat(ada, monkeypatch):
    """At each of its steps: as if the process were killed there."""
    for step in ("_cancel_open", "content_erase", "_erase_names"):
        with monkeypatch.context() as patched:
            patched.setattr(erasure, step, _killed)
            patched.setattr(erasure, "logger", None)
            with pytest.raises(KeyboardInterrupt):
                erase(ada)
        assert remains()

    assert erase(ada)
    assert remains() == []


def _killed(*_, **__):
    raise KeyboardInterrupt


def test_a_call_ends_in_time_and_the_next_ones_go_on(ada, monkeypatch):
    monkeypatch.setattr(erasure, "BATCH_ROWS", 2)
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "MAX_SECONDS", -1.0)
        with pytest.raises(EraseUnfinished, match="Erase again to go on"):
            erase(ada)
    ada.refresh_from_db()
    assert ada.name == "Ada canary"

    assert erase(ada)
    assert remains() == []


def test_a_file_that_the_storage_does_not_delete_holds_up_nothing_else(ada, monkeypatch):
    monkeypatch.setattr(erasure, "BATCH_ROWS", 1)
    with monkeypatch.context() as patched:
        patched.setattr(default_storage, "delete", _refuse)
        with pytest.raises(EraseUnfinished, match="1 requests could not be erased now"):
            erase(ada)
    left = Request.objects.get(content_erased_at=None)
    assert remains() == [repr(left)]
    names = file_names(ada)
    assert len(names) == 2

    assert erase(ada)
    assert remains() == []
    assert not any(map(default_storage.exists, names))


def _refuse(name):
    raise OSError("read-only")


def test_requests_of_one_moment_are_all_seen(monkeypatch):
    account, moment = make_account(), timezone.now()
    for _ in range(7):
        make_ended(account, created_at=moment)
    monkeypatch.setattr(erasure, "BATCH_ROWS", 2)

    assert erase(account)
    assert not Request.objects.filter(content_erased_at=None).exists()


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_locked_row_is_told_and_erased_by_a_repeat():
    account = make_account()
    locked, _ = make_ended(account), make_ended(account)
    with row_locked_by_another(locked), pytest.raises(EraseUnfinished, match="1 requests could not be erased"):
        erase(account)
    assert Request.objects.get(content_erased_at=None).pk == locked.pk

    assert erase(account)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_two_operators_at_once_erase_everything_and_move_no_credit_twice(ada):
    barrier = threading.Barrier(2)

    def run() -> str:
        try:
            barrier.wait(30)
            erase(ada)
            return "done"
        except EraseUnfinished:
            return "unfinished"  # the other held a row at that moment
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = [future.result() for future in [pool.submit(run) for _ in range(2)]]
    if outcomes != ["done", "done"]:
        erase(ada)

    assert remains() == []
    ada.refresh_from_db()
    assert ada.balance == 50 == sum(ada.ledger.values_list("amount", flat=True))
    assert LedgerEntry.objects.filter(kind="RELEASE").count() == 1


def _erase_and_die(account_id: int, number: int) -> None:
    """Erase in a process of its own, which is killed before its nth batch of content."""
    real, calls = erasure.content_erase, []

    def content_erase(**arguments):
        calls.append(arguments)
        if len(calls) == number:
            os.kill(os.getpid(), 9)
        return real(**arguments)

    connection.close()
    erasure.content_erase, erasure.BATCH_ROWS = content_erase, 1
    account_erase(account_id=account_id, actor="admin:anna", reason=REASON)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_process_that_is_killed_leaves_what_a_repeat_finishes(ada, number):
    connection.close()
    process = multiprocessing.get_context("fork").Process(target=_erase_and_die, args=(ada.pk, number))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    assert Request.objects.exclude(content_erased_at=None).count() == number - 1

    assert erase(ada)
    assert remains() == []


def press(client, account: Account, name: str, **seen: str):
    """Press a button of the account's page and give the reason, as a browser does; return the page that follows."""
    shown = fields_of(client.get(f"{LIST}{account.pk}/change/").content.decode())
    kept = {field: value for field, value in shown.items() if field in ("_selected_action", "page_of")}
    asked = client.post(LIST, {**kept, "action": name}).content.decode()
    assert all(words in asked for words in seen.values()), asked
    return client.post(LIST, {**fields_of(asked), "reason": REASON}, follow=True)


def test_the_button_says_what_goes_and_the_history_says_who_and_why(ada, admin_client):
    page = press(admin_client, ada, "erase", goes="For ever go: prompts, answers", stays="the ledger and all sums stay")

    assert page.redirect_chain == [(f"{LIST}{ada.pk}/change/", 302)]
    assert "1 erased" in page.content.decode()
    assert remains() == []
    entry = LogEntry.objects.first()
    assert (entry.change_message, entry.object_repr, entry.user.username) == (
        f"Erased: {REASON}", "telegram:1:42", "admin"
    )  # fmt: skip
    assert "0 erased" in press(admin_client, ada, "erase").content.decode()


def test_what_is_left_is_told_in_words(ada, admin_client, monkeypatch):
    monkeypatch.setattr(default_storage, "delete", _refuse)

    page = press(admin_client, ada, "erase").content.decode()

    assert "1 requests could not be erased now" in page


def test_it_takes_a_permission_of_its_own(ada, client):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_account", "change_account"]))
    client.force_login(clerk)
    form = {"action": "erase", "_selected_action": ada.pk, "reason": REASON}

    assert 'value="erase"' not in client.get(f"{LIST}{ada.pk}/change/").content.decode()
    client.post(LIST, form)
    assert len(remains()) == 10

    clerk.user_permissions.add(Permission.objects.get(codename="erase_account"))
    client.post(LIST, form)
    assert remains() == []


@pytest.mark.parametrize("selected", ["0", "\x00", "canary", "9" * 30])
def test_a_form_that_was_tampered_with_is_no_error(admin_client, selected):
    for name in ("erase", "block", "unblock"):
        form = {"action": name, "_selected_action": selected, "page_of": selected, "reason": REASON}
        assert admin_client.post(LIST, form, follow=True).status_code < 500
