"""Acceptance of requests: idempotent, with the credits held. What becomes of them is in services.execution."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from providers.access import current_purpose
from providers.storage import StoredMedia
from providers.types import Category
from requests_app.credit_rates import Size
from requests_app.dispatch import enqueue_on_commit, queue_for
from requests_app.errors import (
    AccountBlocked,
    ConversationBusy,
    InsufficientCredits,
    PromptInvalid,
    TooManyOpenRequests,
    UnknownModel,
)
from requests_app.models import Account, AIModel, Request, RequestEvent
from requests_app.selectors import asked_size
from requests_app.statements import Acceptance, request_insert

ADVANCE_TASK = "requests_app.tasks.advance"


def request_accept(
    *,
    intake_key: str,
    account: Account,
    model: AIModel,
    text: str,
    conversation: str = "",
    input_media: Sequence[StoredMedia] = (),
    options: Mapping[str, Any] | None = None,
    actor: str = "",
    reason: str = "",
    wakes_worker: bool = True,
    is_in_turn: bool = False,
    alongside: Callable[[Request], None] | None = None,
) -> Request:
    """Accept a prompt: write the request, its first event and the credit hold, together or not at all.

    Idempotent by `intake_key`, which names the message that brought the prompt: accepting it again returns the first
    request. The most that it may cost is held. Where an AI model's price goes by size, a balance that does not pay for
    the longest answer buys a shorter one. Without enough credits for that the request is written as REJECTED with
    error_code NO_CREDITS and nothing is held.
    `options` stand in place of the AI model's. The first event names `actor`, by default the account, and `reason`.
    A wake-up is enqueued on commit unless `wakes_worker` is False, where the caller executes the request itself.
    With `is_in_turn` a text is not accepted while another of its conversation is open: it would not know its answer.
    `alongside` is called with a request that is new and not rejected, in the transaction that writes it.

    Raises PromptInvalid, UnknownModel, AccountBlocked, TooManyOpenRequests or ConversationBusy, with nothing written.
    """
    _check(account, model, text, seconds=sum(stored.seconds for stored in input_media))
    request = Request(
        user=account,
        model=model,
        category=model.category,
        purpose=current_purpose(),
        conversation=conversation,
        input_text=text,
        input_media=[stored.as_dict() for stored in input_media],
        options=model.options if options is None else dict(options),
        tag=model.tag,
        intake_key=intake_key,
    )
    with transaction.atomic():
        insert = partial(
            _insert,
            request,
            account,
            actor=actor or account.key,
            reason=reason,
            is_in_turn=is_in_turn and request.category == Category.TEXT,
        )
        acceptance = insert()
        if acceptance is Acceptance.UNPAID and model.rates:
            account.refresh_from_db(fields=["balance"])  # it may have changed since the caller has read it
            acceptance = insert()
        if acceptance is Acceptance.UNPAID:
            _reject(request)
        elif acceptance is Acceptance.ACCEPTED:
            if alongside:
                alongside(request)
            if wakes_worker:
                enqueue_on_commit(ADVANCE_TASK, request.id, queue=queue_for(request.category))
    if acceptance is Acceptance.BUSY:
        raise TooManyOpenRequests(
            f"You have {settings.MAX_OPEN_REQUESTS} requests open. Wait for one of them to be answered."
        )
    if acceptance is Acceptance.BEHIND:
        raise ConversationBusy("An earlier prompt of this conversation is not answered yet. Wait for its answer.")
    return Request.objects.get(intake_key=intake_key) if acceptance is Acceptance.KNOWN else request


def _insert(request: Request, account: Account, *, actor: str, reason: str, is_in_turn: bool) -> Acceptance:
    terms = request.model.terms_with(request.options)
    size = asked_size(request, terms, balance=account.balance) if terms.rates else Size()
    agreed, request.credits = terms.agreed(size, balance=account.balance)
    request.terms = agreed.as_dict()
    return request_insert(
        request=request,
        actor=actor[:64],
        reason=reason,
        max_under_way=settings.MAX_OPEN_REQUESTS,
        deadline_seconds=settings.DEADLINE_SECONDS[request.category],
        is_in_turn=is_in_turn,
    )


def _check(account: Account, model: AIModel, text: str, *, seconds: int) -> None:
    if not text.strip() and not seconds:
        raise PromptInvalid("The prompt is empty. Write what you would like to know.")
    if seconds > settings.MAX_AUDIO_SECONDS:
        raise PromptInvalid(
            f"The recording is {seconds / 60:.0f} minutes long; at most {settings.MAX_AUDIO_SECONDS / 60:.0f} are "
            "allowed. Send it in parts."
        )
    if len(text) > settings.MAX_PROMPT_CHARACTERS:
        raise PromptInvalid(
            f"The prompt has {len(text):,} characters; at most {settings.MAX_PROMPT_CHARACTERS:,} are allowed. "
            "Shorten it or send it in parts."
        )
    if "\x00" in text:
        raise PromptInvalid("The prompt contains a NUL character. Send it as plain text.")
    if not model.enabled:
        raise UnknownModel(f"{model.name} is disabled. Choose another model.")
    if account.is_blocked:
        raise AccountBlocked("This account is blocked. Ask the operator of this service.")


def _reject(request: Request) -> None:
    """Write a request that its user cannot pay for, so that its message is known."""
    request.status, request.error_code = Request.Status.REJECTED, InsufficientCredits.code
    request.deadline_at = request.completed_at = Now()  # nothing waits for either
    request.save(force_insert=True)
    request.refresh_from_db(fields=["deadline_at", "completed_at"])
    RequestEvent.objects.create(
        request=request, to_status=Request.Status.REJECTED, actor="system", reason="not enough credits"
    )
