"""The compound statement of a chat's queue and its ORM twin leave the same rows and return the same."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from requests_app.models import AIModel
from telegram_bot import statements
from telegram_bot.chats import thread_ensure
from telegram_bot.models import TelegramChat, TelegramUpdate
from telegram_bot.statements import Claim, Ended, chat_want, update_claim
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_account, make_chat, make_model, make_user
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db

MINE, OTHER = uuid.uuid4(), uuid.uuid4()


@pytest.fixture(autouse=True, params=["compound", "twin"])
def variant(request, monkeypatch, enqueued) -> str:
    """Run each test with the compound statement where there is one, and with its twin."""
    if request.param == "twin":
        monkeypatch.setattr(statements, "is_postgresql", lambda: False)
    elif connection.vendor != "postgresql":
        pytest.skip("The compound statement is for PostgreSQL.")
    return request.param


def arrive(text: str = "Hello", **fields: Any) -> TelegramUpdate:
    raw = message(text, **fields)
    update_ingest(raw)
    return TelegramUpdate.objects.get(update_id=raw["update_id"])


def claim(holder: uuid.UUID = MINE, ended: Ended | None = None) -> Claim:
    return update_claim(chat_id=make_chat(42).pk, holder=holder, lease_seconds=60, download_seconds=300, ended=ended)


def lease_seconds() -> float:
    lease_until = TelegramChat.objects.get().lease_until
    assert lease_until
    return (lease_until - timezone.now()).total_seconds()


def test_it_claims_the_oldest_with_the_chat_and_counts_the_try():
    make_chat(42, type="private")
    oldest, _ = arrive("One"), arrive("Two")

    claimed = claim()

    assert claimed.update is not None
    assert (claimed.update.update_id, claimed.update.tries) == (oldest.update_id, 1)
    assert claimed.update.raw == oldest.raw
    assert TelegramChat.objects.get().holder == MINE
    assert 50 < lease_seconds() <= 60


def test_what_is_known_of_sender_and_place_comes_with_it():
    first, chosen = make_model(name="First", slug="first", position=1), make_model(name="B", slug="b", position=2)
    chat = make_chat(42, type="private", model=chosen)
    account = make_account(credits=5)
    user = make_user(42, account=account, name="Ada", language="en")
    thread = thread_ensure(chat_id=make_chat(42).pk, thread_id=None)
    arrive()

    known = claim().known

    assert (known.user, known.chat, known.thread, known.model) == (user, chat, thread, chosen)
    assert known.user
    assert known.user.account == account
    assert (known.user.name, known.user.account.balance, known.user.account.created_at.tzinfo) != ("", 0, None)
    assert known.model
    assert known.model.options == chosen.options

    chosen.enabled = False
    chosen.save()
    assert claim().known.model == first


def test_of_strangers_nothing_is_known():
    make_chat(42)
    AIModel.objects.update(enabled=False)
    arrive()

    known = claim().known

    assert (known.user, known.thread, known.model) == (None, None, None)


@pytest.mark.parametrize("kind", ["photo", "voice"])
def test_a_file_is_given_the_time_of_its_download(kind):
    make_chat(42)
    update = arrive()
    TelegramUpdate.objects.filter(pk=update.pk).update(raw={"message": {**update.raw["message"], kind: []}})

    claim()

    assert 350 < lease_seconds() <= 360


def test_the_end_of_one_claims_the_next_and_the_last_end_releases_the_chat():
    make_chat(42)
    first, second = arrive("One"), arrive("Two")
    claim()

    following = claim(ended=Ended(first.pk, "done"))
    assert following.update is not None
    assert following.update.update_id == second.update_id
    assert claim(ended=Ended(second.pk, "refused: empty")) == Claim(None)

    rows = TelegramUpdate.objects.order_by("update_id").values_list("outcome", "tries", "next_at")
    assert list(rows) == [("done", 1, None), ("refused: empty", 1, None)]
    assert not TelegramUpdate.objects.filter(handled_at=None).exists()
    assert TelegramChat.objects.get().lease_until is None


def test_one_that_must_wait_makes_those_after_it_wait():
    make_chat(42)
    first, _ = arrive("One"), arrive("Two")
    claim()
    TelegramUpdate.objects.filter(pk=first.pk).update(next_at=timezone.now() + timedelta(seconds=30))

    assert claim() == Claim(None)
    assert TelegramChat.objects.get().lease_until is None


def test_one_that_is_held_back_is_passed_by_until_it_is_due():
    make_chat(42)
    held, other = arrive("One"), arrive("Two")
    now = timezone.now()
    row = TelegramUpdate.objects.filter(pk=held.pk)
    row.update(held_at=now, next_at=now + timedelta(minutes=10))

    assert claim().update == other
    assert claim(ended=Ended(other.pk, "done")) == Claim(None)

    row.update(next_at=now - timedelta(seconds=1))
    assert claim().update == held
    row.update(next_at=None)
    assert claim().update == held


@pytest.mark.parametrize(
    ("earlier", "is_behind"),
    [
        ({"held_for": "TURN"}, True),
        ({"held_for": "MAINTENANCE"}, True),
        ({"held_for": "TURN", "handled_at": timezone.now(), "outcome": "done"}, False),
        ({"held_for": "TURN", "sender_id": 77}, False),
        ({"held_for": "TURN", "thread_id": 5}, False),
    ],
    ids=["waits", "held for maintenance", "was handled", "of somebody else", "in another topic"],
)
def test_it_says_whether_an_earlier_prompt_of_the_sender_waits_for_its_turn(earlier, is_behind):
    make_chat(42)
    held, other = arrive("One"), arrive("Two")
    fields = {"held_at": timezone.now(), "next_at": timezone.now() + timedelta(minutes=10), **earlier}
    TelegramUpdate.objects.filter(pk=held.pk).update(**fields)

    claimed = claim()

    assert (claimed.update, claimed.known.is_behind) == (other, is_behind)


def test_one_that_ends_with_the_claim_is_waited_for_no_more():
    make_chat(42)
    held, other = arrive("One"), arrive("Two")
    TelegramUpdate.objects.filter(pk=held.pk).update(held_at=timezone.now(), held_for="TURN")
    assert claim().update == held

    claimed = claim(ended=Ended(held.pk, "accepted"))

    assert (claimed.update, claimed.known.is_behind) == (other, False)


def test_another_workers_chat_is_left_alone_until_its_lease_runs_out():
    make_chat(42, holder=OTHER, lease_until=timezone.now() + timedelta(seconds=30))
    update = arrive()

    assert claim() == Claim(None, is_held=True)
    update.refresh_from_db()
    assert update.tries == 0

    TelegramChat.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert claim().update == update
    assert TelegramChat.objects.get().holder == MINE


def test_who_has_lost_the_chat_still_records_the_end_and_gets_nothing_more():
    make_chat(42)
    first, _ = arrive("One"), arrive("Two")
    claim()
    TelegramChat.objects.update(holder=OTHER, lease_until=timezone.now() + timedelta(seconds=30))

    assert claim(ended=Ended(first.pk, "done")) == Claim(None, is_held=True)

    first.refresh_from_db()
    assert first.outcome == "done"
    assert TelegramChat.objects.get().holder == OTHER


def test_a_chat_without_a_row_is_not_held():
    claimed = update_claim(chat_id=0, holder=MINE, lease_seconds=60, download_seconds=300)

    assert claimed == Claim(None)


def test_a_wanted_chat_is_looked_into_once_more_before_it_is_released():
    make_chat(42)
    first = arrive("One")
    claim()
    assert chat_want(chat_id=make_chat(42).pk)

    assert claim(ended=Ended(first.pk, "done")) == Claim(None)
    chat = TelegramChat.objects.get()
    assert (chat.lease_until, chat.is_wanted) == (None, False)
    assert not chat_want(chat_id=make_chat(42).pk)
