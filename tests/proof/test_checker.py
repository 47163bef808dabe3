"""The checker reports each broken promise, and nothing where all is well."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from requests_app.models import Request
from requests_app.states import TRANSITIONS as PRODUCT_TRANSITIONS
from tests.proof.checker import TRANSITIONS, check
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
NOTICE = "✅ Ready."
STARTED = (EventFact("", "PENDING"), EventFact("PENDING", "PROCESSING"))

# Account 7 was given ten credits. Request "one" was answered for one of them, "two" failed and gave two back, and
# "three" was refused.
ONE = RequestFact(
    id="one",
    account_id=7,
    intake_key="telegram:101",
    prompt="One",
    status="COMPLETED",
    credits=1,
    provider="piapi",
    has_output=True,
    answered_prompt="One",
    events=(*STARTED, EventFact("PROCESSING", "COMPLETED")),
    expected_messages={0: ANSWER},
)
TWO = RequestFact(
    id="two",
    account_id=7,
    intake_key="telegram:102",
    prompt="Two",
    status="FAILED",
    credits=2,
    events=(*STARTED, EventFact("PROCESSING", "FAILED")),
    expected_messages={0: FAILURE},
)
THREE = RequestFact(
    id="three",
    account_id=7,
    intake_key="telegram:103",
    prompt="Three",
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
        AttemptFact("one", 2, "piapi", "OK", cost=Decimal("0.02")),
        AttemptFact("two", 1, "replicate", "FAILED", job_id="job-1"),
    ),
    deliveries=(DeliveryFact("one", 0, "DELIVERED", 42, 1001), DeliveryFact("two", 0, "DELIVERED", 42, 1002)),
    bill=(
        BillFact("aimlapi", "One", is_billed=True),
        BillFact("piapi", " One ", is_billed=True, cost=Decimal("0.02")),
        BillFact("replicate", "Two", is_billed=False, job_id="job-1"),
    ),
    conversations={42: 0},
    messages=(
        MessageFact(42, 1001, ANSWER),
        MessageFact(42, 1002, FAILURE),
        MessageFact(42, 1003, "You have 9 credits."),
    ),
    max_idle_seconds=5,
)


def with_change(request: RequestFact = ONE, **changes: Any) -> Facts:
    """Return the clean facts with one request changed."""
    changed = replace(request, **changes)
    return replace(CLEAN, requests=tuple(changed if row.id == request.id else row for row in CLEAN.requests))


def with_more(**more: Any) -> Facts:
    """Return the clean facts with one more row in each of these fields."""
    return replace(CLEAN, **{name: (*getattr(CLEAN, name), row) for name, row in more.items()})


def rules(facts: Facts) -> set[str]:
    return {violation.rule for violation in check(facts)}


def test_it_reports_nothing_where_all_is_well():
    assert check(CLEAN) == []
    assert check(Facts()) == []


def test_its_table_of_transitions_is_that_of_the_product():
    transitions = {
        status.value: {to.value for to in targets} for status, targets in PRODUCT_TRANSITIONS.items() if targets
    }

    assert {status: targets for status, targets in TRANSITIONS.items() if status} == transitions
    assert set(PRODUCT_TRANSITIONS) == set(Request.Status)


def test_an_acknowledged_update_without_a_row_is_lost():
    assert rules(replace(CLEAN, acknowledged=frozenset({101, 999}))) == {"update lost"}


def test_a_request_whose_update_has_no_row_is_reported():
    assert rules(replace(CLEAN, updates=CLEAN.updates[1:], acknowledged=frozenset())) == {"update lost"}


def test_an_update_that_became_two_requests_is_doubled():
    copy = replace(THREE, id="three again")

    assert "update doubled" in rules(with_more(requests=copy))


def test_an_accepted_update_without_its_request_is_a_lost_request():
    update = UpdateFact(105, 42, "accepted as req_gone")

    assert rules(with_more(updates=update)) == {"request lost"}


def test_an_unhandled_update_that_stays_untouched_is_forgotten():
    assert rules(with_more(updates=UpdateFact(105, 42, "", idle_seconds=6))) == {"update forgotten"}
    assert rules(with_more(updates=UpdateFact(105, 42, "", idle_seconds=4))) == set()


def test_an_open_request_that_stays_untouched_is_forgotten():
    request = RequestFact("four", 7, "cli:4", "Four", "PENDING", 0, events=STARTED[:1], idle_seconds=6)
    facts = with_more(requests=request, ledger=EntryFact(7, "four", "HOLD", 0))

    assert rules(facts) == {"request forgotten"}


@pytest.mark.parametrize("state", ["PLACING", "SENDING", "PENDING"])
def test_a_delivery_that_stays_untouched_is_forgotten(state):
    delivery = DeliveryFact("one", 0, state, 42, 1001, idle_seconds=6)

    assert rules(replace(CLEAN, deliveries=(delivery, CLEAN.deliveries[1]))) == {"delivery forgotten"}


def test_a_call_that_stays_open_after_its_request_is_reported():
    attempt = AttemptFact("two", 2, "openai", "SENDING", is_finished=False)

    assert rules(with_more(attempts=attempt)) == {"call left open"}


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ((EventFact("", "PENDING"), EventFact("PENDING", "COMPLETED")), "transition forbidden"),
        ((*ONE.events, EventFact("COMPLETED", "FAILED"), EventFact("FAILED", "COMPLETED")), "transition forbidden"),
        ((EventFact("", "PENDING"), EventFact("PROCESSING", "COMPLETED")), "transition unrecorded"),
        (STARTED, "transition unrecorded"),
        ((), "transition unrecorded"),
    ],
)
def test_a_transition_that_is_forbidden_or_unrecorded_is_reported(events, rule):
    assert rules(with_change(events=events)) == {rule}


def test_a_balance_that_is_not_the_ledgers_sum_is_wrong():
    assert rules(replace(CLEAN, accounts=(AccountFact(7, 8),))) == {"balance wrong"}


def test_a_balance_below_zero_is_reported():
    facts = with_more(ledger=EntryFact(7, "", "ADJUST", -10))

    assert rules(replace(facts, accounts=(AccountFact(7, -1),))) == {"balance negative"}


@pytest.mark.parametrize(
    "extra",
    [
        EntryFact(7, "one", "CAPTURE", 0),
        EntryFact(7, "three", "HOLD", -100),
    ],
)
def test_a_request_that_is_settled_twice_or_without_cause_is_reported(extra):
    assert "not settled once" in rules(with_more(ledger=extra))


def test_a_finished_request_without_a_settlement_is_reported():
    ledger = tuple(entry for entry in CLEAN.ledger if entry.kind != "RELEASE")

    assert "not settled once" in rules(replace(CLEAN, ledger=ledger))


def cancelled(*, is_read: bool, kind: str) -> Facts:
    """Return the clean facts with the second request cancelled and settled like this."""
    events = (*STARTED, EventFact("PROCESSING", "CANCELLED"))
    amount = 2 if kind == "RELEASE" else 0
    return replace(
        with_change(TWO, status="CANCELLED", events=events),
        accounts=(AccountFact(7, 7 + amount),),
        ledger=(*CLEAN.ledger[:-1], EntryFact(7, "two", kind, amount)),
        deliveries=(CLEAN.deliveries[0], replace(CLEAN.deliveries[1], is_read=is_read)),
    )


def test_who_cancels_pays_if_and_only_if_they_have_read():
    assert rules(cancelled(is_read=True, kind="CAPTURE")) == set()
    assert rules(cancelled(is_read=False, kind="RELEASE")) == set()
    assert rules(cancelled(is_read=True, kind="RELEASE")) == {"not settled once"}
    assert rules(cancelled(is_read=False, kind="CAPTURE")) == {"not settled once"}


def test_an_answer_that_was_given_up_is_refunded_and_no_other():
    refund = EntryFact(7, "one", "REFUND", 1)
    refunded = replace(with_more(ledger=refund), accounts=(AccountFact(7, 10),))
    given_up = (replace(CLEAN.deliveries[0], state="UNDELIVERABLE"), CLEAN.deliveries[1])

    assert rules(refunded) == {"not settled once"}
    assert rules(replace(refunded, deliveries=given_up)) == {"not shown"}
    assert rules(replace(CLEAN, deliveries=given_up)) == {"not shown", "not settled once"}


def test_a_hold_of_another_amount_than_the_price_is_reported():
    assert rules(with_change(credits=3)) == {"wrong amount"}


def test_what_was_held_too_much_comes_back_with_the_capture():
    held = tuple(
        replace(entry, amount={"HOLD": -3, "CAPTURE": 2}.get(entry.kind, entry.amount))
        if entry.request_id == "one"
        else entry
        for entry in CLEAN.ledger
    )
    assert rules(replace(CLEAN, ledger=held)) == set()

    kept = tuple(replace(entry, amount=0) if entry.amount == 2 and entry.kind == "CAPTURE" else entry for entry in held)
    assert "wrong amount" in rules(replace(CLEAN, ledger=kept))


def test_an_ai_model_that_costs_more_than_its_credits_is_reported():
    answered = with_change(model="Text AI", cost=Decimal("0.02"))

    assert rules(answered) == set()  # nothing is sold
    assert rules(replace(answered, credit_price=Decimal("0.02"))) == set()
    assert rules(replace(answered, credit_price=Decimal("0.01"))) == {"sold at a loss"}


def test_credits_captured_without_a_result_are_reported():
    assert rules(with_change(has_output=False)) == {"paid for nothing"}


def test_a_result_without_captured_credits_is_reported():
    assert rules(with_change(TWO, has_output=True)) == {"result unpaid"}


def test_a_result_whose_file_is_gone_is_reported():
    assert rules(with_change(missing_files=("results/1.mp4",))) == {"file lost"}


def test_an_answer_without_the_call_that_brought_it_is_reported():
    assert rules(with_change(provider="openai")) == {"answer unexplained"}


def test_a_call_on_the_bill_without_an_attempt_is_reported():
    assert rules(with_more(bill=BillFact("piapi", "One", is_billed=False))) == {"call without an attempt"}


def test_a_call_with_a_prompt_that_nobody_sent_is_reported():
    assert "call without a request" in rules(with_more(bill=BillFact("piapi", "Zero", is_billed=True)))


def test_a_call_that_was_cut_off_before_its_prompt_is_counted_with_its_provider():
    cut = BillFact("openai", "", is_billed=False)

    assert rules(with_more(bill=cut)) == {"call without an attempt"}
    assert rules(with_more(bill=cut, attempts=AttemptFact("two", 2, "openai", "UNKNOWN", was_unknown=True))) == set()


def test_a_job_of_ours_that_the_provider_does_not_know_is_reported():
    assert rules(with_more(attempts=AttemptFact("two", 2, "replicate", "FAILED", job_id="job-9"))) == {"job invented"}


def test_two_attempts_with_the_same_job_are_reported():
    assert rules(with_more(attempts=AttemptFact("two", 2, "replicate", "FAILED", job_id="job-1"))) == {"job doubled"}


def test_a_job_on_the_bill_needs_an_attempt_with_its_id_or_without_any():
    job = BillFact("replicate", "Two", is_billed=False, job_id="job-2")
    other, nameless = (AttemptFact("two", 2, "replicate", "FAILED", job_id=job_id) for job_id in ("job-3", ""))

    assert rules(with_more(bill=job, attempts=other)) == {"job unknown", "job invented"}
    assert rules(with_more(bill=job, attempts=nameless)) == set()


def test_an_answer_to_another_prompt_is_reported():
    assert rules(with_change(answered_prompt="Two")) == {"answer of another"}


def test_a_job_that_was_ordered_for_another_request_is_reported():
    other = (*CLEAN.attempts[:2], replace(CLEAN.attempts[2], request_id="one", number=3))

    assert "answer of another" in rules(replace(CLEAN, attempts=other))


def with_second_attempt(**changes: Any) -> Facts:
    """Return the clean facts with the call that answered changed."""
    first, second, third = CLEAN.attempts
    return replace(CLEAN, attempts=(first, replace(second, **changes), third))


def test_a_cost_that_the_provider_did_not_bill_is_reported():
    first, second, third = CLEAN.attempts
    unbilled = replace(third, cost=Decimal("0.01"))

    assert rules(replace(CLEAN, attempts=(first, second, unbilled))) == {"cost invented"}
    assert "cost invented" in rules(with_second_attempt(cost=Decimal("0.03")))
    assert rules(with_second_attempt(cost=None)) == set()


def test_a_billed_call_is_not_recorded_as_never_executed():
    assert "cost unrecorded" in rules(with_second_attempt(state="FAILED", cost=None))


def test_what_is_perhaps_billed_explains_the_bill_of_its_own_provider_only():
    first, second, third = CLEAN.attempts
    elsewhere = replace(CLEAN, attempts=(replace(first, provider="openai"), second, third))

    assert "cost unrecorded" in rules(elsewhere)


def by_user(request: RequestFact) -> RequestFact:
    return replace(
        request, status="CANCELLED", events=(*STARTED, EventFact("PROCESSING", "CANCELLED", is_by_user=True))
    )


def test_a_command_that_cancelled_two_requests_is_reported():
    facts = replace(CLEAN, requests=(ONE, by_user(TWO), THREE))
    right, wrong = (UpdateFact(105, 42, "cancelled", command="/cancel", target=target) for target in ("two", "one"))

    assert rules(replace(facts, updates=(*CLEAN.updates, right))) == set()
    assert rules(replace(facts, updates=(*CLEAN.updates, wrong))) == {"command acted twice"}


def test_a_command_that_began_two_conversations_is_reported():
    update = UpdateFact(105, 42, "started a conversation", command="/new")

    assert rules(replace(with_more(updates=update), conversations={42: 1})) == set()
    assert rules(replace(with_more(updates=update), conversations={42: 2})) == {"command acted twice"}


def test_a_file_whose_confirmed_upload_is_repeated_is_reported():
    facts = replace(
        with_change(expected_messages={0: "file 1f"}),
        messages=(MessageFact(42, 1001, "file 1f"), *CLEAN.messages[1:]),
    )

    assert rules(replace(facts, confirmed_uploads={"file 1f": 1})) == set()
    assert rules(replace(facts, confirmed_uploads={"file 1f": 2})) == {"file uploaded twice"}
    assert rules(replace(facts, confirmed_uploads={"file 1f": 2}, excused_uploads=1)) == set()
    assert rules(replace(facts, confirmed_uploads={"file 2e": 1})) == {"file uploaded twice"}


def test_a_second_payment_needs_an_unknown_attempt():
    known = replace(CLEAN.attempts[0], state="OK", was_unknown=False)

    assert rules(replace(CLEAN, attempts=(known, *CLEAN.attempts[1:]))) == {"paid twice"}


def test_an_answer_that_is_not_in_its_chat_is_reported():
    assert rules(replace(CLEAN, messages=CLEAN.messages[1:])) == {"not shown"}


def test_an_answer_that_was_given_up_is_reported_unless_its_chat_is_unreachable():
    delivery = replace(CLEAN.deliveries[0], state="UNDELIVERABLE")
    facts = replace(CLEAN, deliveries=(delivery, CLEAN.deliveries[1]))

    assert "not shown" in rules(facts)
    assert rules(replace(facts, unreachable_chats=frozenset({42}))) == set()


def test_an_answer_whose_stream_stopped_is_reported():
    partial = replace(CLEAN.messages[0], content=ANSWER[:50] + " …")

    assert rules(replace(CLEAN, messages=(partial, *CLEAN.messages[1:]))) == {"shown wrongly"}


def test_a_part_without_a_delivery_is_reported():
    assert rules(with_change(expected_messages={0: ANSWER, -1: NOTICE})) == {"part missing"}


@pytest.mark.parametrize("content", [ANSWER, ANSWER[:40] + " …", FAILURE])
def test_a_second_copy_of_an_answer_is_reported(content):
    assert rules(with_more(messages=MessageFact(42, 1004, content))) == {"shown twice"}


def test_a_message_whose_sender_crashed_may_have_been_sent_once_and_not_twice():
    facts = replace(
        with_change(expected_messages={0: ANSWER, -1: NOTICE}),
        deliveries=(*CLEAN.deliveries, DeliveryFact("one", -1, "UNCERTAIN", 42, None)),
    )
    notices = [MessageFact(42, 1004, NOTICE), MessageFact(42, 1005, NOTICE)]

    assert rules(facts) == set()
    assert rules(replace(facts, messages=(*CLEAN.messages, notices[0]))) == set()
    assert rules(replace(facts, messages=(*CLEAN.messages, *notices))) == {"shown twice"}


def test_a_stray_placeholder_needs_a_send_that_was_cut_short():
    facts = with_more(messages=MessageFact(42, 1004, "⏳"))

    assert rules(facts) == {"placeholder left"}
    assert rules(replace(facts, excused_placeholders=1)) == set()
