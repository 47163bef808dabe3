"""Acceptance of requests: idempotent, with the credits held. What becomes of them is in services.execution."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from providers.storage import StoredMedia
from requests_app.dispatch import enqueue_on_commit
from requests_app.errors import (
    AccountBlocked,
    InsufficientCredits,
    PromptInvalid,
    TooManyOpenRequests,
    UnknownModel,
)
from requests_app.models import Account, AIModel, Request, RequestEvent
from requests_app.selectors import requests_under_way
from requests_app.services.credits import credits_hold

ADVANCE_TASK = "requests_app.tasks.advance"


def request_accept(
    *,
    intake_key: str,
    account: Account,
    model: AIModel,
    text: str,
    conversation: str = "",
    input_media: Sequence[StoredMedia] = (),
    wakes_worker: bool = True,
) -> Request:
    """Accept a prompt: write the request, its first event and the credit hold, together or not at all.

    Idempotent by `intake_key`, which names the message that brought the prompt: accepting it again returns the first
    request. Without enough credits the request is written as REJECTED with error_code NO_CREDITS and nothing is held.
    A wake-up is enqueued on commit unless `wakes_worker` is False, where the caller executes the request itself.

    Raises PromptInvalid, UnknownModel, AccountBlocked or TooManyOpenRequests, with nothing written.
    """
    _check(account, model, text)
    with transaction.atomic():
        # The account's row is the lock: concurrent prompts of one user are accepted one after the other.
        Account.objects.select_for_update().get(id=account.pk)
        known = Request.objects.filter(intake_key=intake_key).first()
        if known:
            return known
        request = Request.objects.create(
            user=account,
            model=model,
            category=model.category,
            conversation=conversation,
            input_text=text,
            input_media=[stored.as_dict() for stored in input_media],
            options=model.options,
            credits=model.token_cost,
            intake_key=intake_key,
            deadline_at=Now() + timedelta(seconds=settings.DEADLINE_SECONDS[model.category]),
        )
        if requests_under_way(account).count() > settings.MAX_OPEN_REQUESTS:
            raise TooManyOpenRequests(
                f"You have {settings.MAX_OPEN_REQUESTS} requests open. Wait for one of them to be answered."
            )
        try:
            credits_hold(request=request)
        except InsufficientCredits as error:
            _reject(request, error)
        else:
            RequestEvent.objects.create(request=request, to_status=Request.Status.PENDING, actor=account.key)
            if wakes_worker:
                enqueue_on_commit(ADVANCE_TASK, request.id)
    return request


def _check(account: Account, model: AIModel, text: str) -> None:
    if not text.strip():
        raise PromptInvalid("The prompt is empty. Write what you would like to know.")
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


def _reject(request: Request, error: InsufficientCredits) -> None:
    request.status = Request.Status.REJECTED
    request.error_code = error.code
    request.completed_at = Now()
    request.save(update_fields=["status", "error_code", "completed_at"])
    RequestEvent.objects.create(
        request=request, to_status=Request.Status.REJECTED, actor="system", reason="not enough credits"
    )
