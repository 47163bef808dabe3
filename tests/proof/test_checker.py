"""The judge fires on each broken promise, and is silent where all is well."""

from dataclasses import replace
from typing import Any

import pytest

from requests_app.models import Request
from requests_app.states import MOVES as MOVES_OF_THE_PRODUCT
from tests.proof.checker import MOVES, check
from tests.proof.facts import (
    AccountFact,
    AttemptFact,
    BillFact,
    DeliveryFact,
    EntryFact,
    EventFact,
    Facts,
    MessageFact,
    RequestFact,
    UpdateFact,
)

ANSWER = "Hello from the sandbox, which answers here in place of AIMLAPI. You wrote: “One”."
FAILURE = "⚠️ I could not get an answer: everyone I asked failed. Please try again in a few minutes."
BELL = "✅ Ready."
MOVED = (EventFact("", "PENDING"), EventFact("PENDING", "PROCESSING"))

# Account 7 was given ten credits. Request "one" was answered for one of them, "two" failed and gave two back, and
# "three" was refused.
ONE = RequestFact(
    id="one",
    account_id=7,
    intake_key="telegram:101",
    words="One",
    status="COMPLETED",
    credits=1,
    provider="piapi",
    has_output=True,
    events=(*MOVED, EventFact("PROCESSING", "COMPLETED")),
    looks={0: ANSWER},
)
TWO = RequestFact(
    id="two",
    account_id=7,
    intake_key="telegram:102",
    words="Two",
    status="FAILED",
    credits=2,
    events=(*MOVED, EventFact("PROCESSING", "FAILED")),
    looks={0: FAILURE},
)
THREE = RequestFact(
    id="three",
    account_id=7,
    intake_key="telegram:103",
    words="Three",
    status="REJECTED",
    credits=100,
    events=(EventFact("", "REJECTED"),),
)
CLEAN = Facts(
    acknowledged=frozenset({101, 102, 103, 104}),
    updates=(
        UpdateFact(101, 42, "accepted as one"),
        UpdateFact(102, 42, "accepted as two"),
        UpdateFact(103, 42, "refused: NO_CREDITS"),
        UpdateFact(104, 42, "ignored: a channel"),
    ),
    accounts=(AccountFact(7, 9),),
    ledger=(
        EntryFact(7, "", "TOPUP", 10),
        EntryFact(7, "one", "HOLD", -1),
        EntryFact(7, "two", "HOLD", -2),
        EntryFact(7, "one", "CAPTURE", 0),
        EntryFact(7, "two", "RELEASE", 2),
    ),
    requests=(ONE, TWO, THREE),
    attempts=(
        AttemptFact("one", 1, "aimlapi", "UNKNOWN", was_unknown=True),
        AttemptFact("one", 2, "piapi", "OK"),
        AttemptFact("two", 1, "replicate", "FAILED", job_id="job-1"),
    ),
    deliveries=(DeliveryFact("one", 0, "DELIVERED", 42, 1001), DeliveryFact("two", 0, "DELIVERED", 42, 1002)),
    bill=(
        BillFact("aimlapi", "One", is_billed=True),
        BillFact("piapi", " One ", is_billed=True),
        BillFact("replicate", "Two", is_billed=False, job_id="job-1"),
    ),
    messages=(
        MessageFact(42, 1001, ANSWER),
        MessageFact(42, 1002, FAILURE),
        MessageFact(42, 1003, "You have 9 credits."),
    ),
    patience_seconds=5,
)


def but(request: RequestFact = ONE, **changes: Any) -> Facts:
    """The clean facts with one request changed."""
    changed = replace(request, **changes)
    return replace(CLEAN, requests=tuple(changed if row.id == request.id else row for row in CLEAN.requests))


def with_more(**more: Any) -> Facts:
    """The clean facts with one more row in these places."""
    return replace(CLEAN, **{name: (*getattr(CLEAN, name), row) for name, row in more.items()})


def rules(facts: Facts) -> set[str]:
    return {violation.rule for violation in check(facts)}


def test_where_all_is_well_it_is_silent():
    assert check(CLEAN) == []
    assert check(Facts()) == []


def test_its_table_of_moves_is_that_of_the_product():
    open_moves = {status.value: {to.value for to in moves} for status, moves in MOVES_OF_THE_PRODUCT.items() if moves}

    assert {status: moves for status, moves in MOVES.items() if status} == open_moves
    assert set(MOVES_OF_THE_PRODUCT) == set(Request.Status)


def test_an_acknowledged_update_without_a_row_is_lost():
    assert rules(replace(CLEAN, acknowledged=frozenset({101, 999}))) == {"update lost"}


def test_a_request_whose_update_has_no_row_came_from_nowhere():
    assert rules(replace(CLEAN, updates=CLEAN.updates[1:], acknowledged=frozenset())) == {"update lost"}


def test_an_update_that_became_two_requests_is_doubled():
    copy = replace(THREE, id="three again")

    assert "update doubled" in rules(with_more(requests=copy))


def test_an_accepted_update_without_its_request_is_a_lost_request():
    update = UpdateFact(105, 42, "accepted as req_gone")

    assert rules(with_more(updates=update)) == {"request lost"}


def test_an_unhandled_update_that_nobody_comes_for_is_forgotten():
    assert rules(with_more(updates=UpdateFact(105, 42, "", idle_seconds=6))) == {"update forgotten"}
    assert rules(with_more(updates=UpdateFact(105, 42, "", idle_seconds=4))) == set()


def test_an_open_request_that_nobody_comes_for_is_forgotten():
    request = RequestFact("four", 7, "cli:4", "Four", "PENDING", 0, events=MOVED[:1], idle_seconds=6)
    facts = with_more(requests=request, ledger=EntryFact(7, "four", "HOLD", 0))

    assert rules(facts) == {"request forgotten"}


@pytest.mark.parametrize("state", ["PLACING", "SENDING", "PENDING"])
def test_a_delivery_that_nobody_comes_for_is_forgotten(state):
    delivery = DeliveryFact("one", 0, state, 42, 1001, idle_seconds=6)

    assert rules(replace(CLEAN, deliveries=(delivery, CLEAN.deliveries[1]))) == {"delivery forgotten"}


def test_a_call_that_stays_open_after_its_request_is_found():
    attempt = AttemptFact("two", 2, "openai", "SENDING", is_finished=False)

    assert rules(with_more(attempts=attempt)) == {"call left open"}


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ((EventFact("", "PENDING"), EventFact("PENDING", "COMPLETED")), "move forbidden"),
        ((*ONE.events, EventFact("COMPLETED", "FAILED"), EventFact("FAILED", "COMPLETED")), "move forbidden"),
        ((EventFact("", "PENDING"), EventFact("PROCESSING", "COMPLETED")), "move unrecorded"),
        (MOVED, "move unrecorded"),
        ((), "move unrecorded"),
    ],
)
def test_a_move_that_is_forbidden_or_not_on_record_is_found(events, rule):
    assert rules(but(events=events)) == {rule}


def test_a_balance_that_is_not_the_ledgers_sum_is_wrong():
    assert rules(replace(CLEAN, accounts=(AccountFact(7, 8),))) == {"balance wrong"}


def test_a_balance_below_zero_is_found():
    facts = with_more(ledger=EntryFact(7, "", "ADJUST", -10))

    assert rules(replace(facts, accounts=(AccountFact(7, -1),))) == {"balance negative"}


@pytest.mark.parametrize(
    "extra",
    [
        EntryFact(7, "one", "CAPTURE", 0),
        EntryFact(7, "three", "HOLD", -100),
    ],
)
def test_a_request_that_is_settled_twice_or_not_to_be_settled_is_found(extra):
    assert "settled wrongly" in rules(with_more(ledger=extra))


def test_a_finished_request_without_a_settlement_is_found():
    ledger = tuple(entry for entry in CLEAN.ledger if entry.kind != "RELEASE")

    assert "settled wrongly" in rules(replace(CLEAN, ledger=ledger))


def test_a_hold_of_another_amount_than_the_price_is_found():
    assert rules(but(credits=3)) == {"wrong amount"}


def test_credits_kept_without_a_result_are_found():
    assert rules(but(has_output=False)) == {"paid for nothing"}


def test_a_result_without_kept_credits_is_found():
    assert rules(but(TWO, has_output=True)) == {"result unpaid"}


def test_a_result_whose_file_is_gone_is_found():
    assert rules(but(missing_files=("results/1.mp4",))) == {"file lost"}


def test_an_answer_without_the_call_that_brought_it_is_found():
    assert rules(but(provider="openai")) == {"answer unexplained"}


def test_a_call_that_the_vendor_noted_and_we_did_not_is_found():
    assert rules(with_more(bill=BillFact("piapi", "One", is_billed=False))) == {"call without an attempt"}


def test_a_call_with_words_that_nobody_asked_is_found():
    assert "call without a request" in rules(with_more(bill=BillFact("piapi", "Zero", is_billed=True)))


def test_a_call_that_was_cut_off_before_its_words_came_counts_with_its_vendor():
    cut = BillFact("openai", "", is_billed=False)

    assert rules(with_more(bill=cut)) == {"call without an attempt"}
    assert rules(with_more(bill=cut, attempts=AttemptFact("two", 2, "openai", "UNKNOWN", was_unknown=True))) == set()


def test_a_job_of_ours_that_the_vendor_does_not_know_is_found():
    assert rules(with_more(attempts=AttemptFact("two", 2, "replicate", "FAILED", job_id="job-9"))) == {"job invented"}


def test_two_attempts_with_the_same_job_are_found():
    assert rules(with_more(attempts=AttemptFact("two", 2, "replicate", "FAILED", job_id="job-1"))) == {"job doubled"}


def test_a_job_of_the_vendor_needs_an_attempt_with_its_id_or_with_none():
    job = BillFact("replicate", "Two", is_billed=False, job_id="job-2")
    other, nameless = (AttemptFact("two", 2, "replicate", "FAILED", job_id=job_id) for job_id in ("job-3", ""))

    assert rules(with_more(bill=job, attempts=other)) == {"job unknown", "job invented"}
    assert rules(with_more(bill=job, attempts=nameless)) == set()


def test_a_second_payment_needs_an_unknown_attempt():
    known = replace(CLEAN.attempts[0], state="OK", was_unknown=False)

    assert rules(replace(CLEAN, attempts=(known, *CLEAN.attempts[1:]))) == {"paid twice"}


def test_an_answer_that_is_not_in_its_chat_is_found():
    assert rules(replace(CLEAN, messages=CLEAN.messages[1:])) == {"not shown"}


def test_an_answer_that_was_given_up_is_found_unless_its_chat_cannot_be_reached():
    delivery = replace(CLEAN.deliveries[0], state="UNDELIVERABLE")
    facts = replace(CLEAN, deliveries=(delivery, CLEAN.deliveries[1]))

    assert rules(facts) == {"not shown"}
    assert rules(replace(facts, unreachable_chats=frozenset({42}))) == set()


def test_an_answer_that_stopped_growing_is_found():
    growing = replace(CLEAN.messages[0], look=ANSWER[:50] + " …")

    assert rules(replace(CLEAN, messages=(growing, *CLEAN.messages[1:]))) == {"shown wrongly"}


def test_a_part_that_was_never_noted_is_found():
    assert rules(but(looks={0: ANSWER, -1: BELL})) == {"part missing"}


@pytest.mark.parametrize("look", [ANSWER, ANSWER[:40] + " …", FAILURE])
def test_a_second_copy_of_an_answer_is_found(look):
    assert rules(with_more(messages=MessageFact(42, 1004, look))) == {"shown twice"}


def test_a_copy_is_no_copy_where_its_sender_was_lost_and_nobody_knows_whether_it_came():
    facts = replace(
        but(looks={0: ANSWER, -1: BELL}), deliveries=(*CLEAN.deliveries, DeliveryFact("one", -1, "UNCERTAIN", 42, None))
    )
    bells = [MessageFact(42, 1004, BELL), MessageFact(42, 1005, BELL)]

    assert rules(facts) == set()
    assert rules(replace(facts, messages=(*CLEAN.messages, bells[0]))) == set()
    assert rules(replace(facts, messages=(*CLEAN.messages, *bells))) == {"shown twice"}


def test_a_stray_placeholder_needs_an_excuse():
    facts = with_more(messages=MessageFact(42, 1004, "⏳"))

    assert rules(facts) == {"placeholder left"}
    assert rules(replace(facts, excused_placeholders=1)) == set()
