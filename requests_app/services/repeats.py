"""What an operator has done once more: a request that has ended asked anew, an answer shown again."""

from collections.abc import Sequence
from uuid import uuid4

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import QuerySet

from providers.db import give_back_connection
from providers.size_estimates import is_audio
from providers.storage import StoredMedia, store_audio, store_image
from requests_app.delivery_backend import DELIVER_TASK, get_delivery_backend
from requests_app.dispatch import enqueue_on_commit
from requests_app.errors import InsufficientCredits, ResendRefused, RetryRefused
from requests_app.models import Request
from requests_app.services.intake import request_accept

Status = Request.Status

RETRY = "retry:"  # so begin the intake keys of requests that were asked anew; the id of the first one follows
RETRIED = (Status.FAILED, Status.CANCELLED)


def request_retry(*, request_id: str, actor: str, reason: str, seen: str) -> Request | None:
    """Ask a failed or cancelled request anew: a new request of its user, whose answer appears in the same place.

    It has the same prompt, options and conversation, files of its own, and a price and a hold as any. `seen` is the
    latest_asking() of it that the operator decided on; returns None, with nothing done, where it was asked since, so a
    second click and a second operator ask nothing. Raises RequestRefused, with nothing written, where it has not ended
    so, its content is erased, a retry of it is open, the account is blocked or has too few credits, or the AI model is
    disabled.
    """
    earlier = Request.objects.select_related("user", "model").get(id=request_id)
    _check(earlier)
    if latest_asking(earlier) != seen:
        return None
    copies = _copies_of(earlier)
    request = None
    try:
        with transaction.atomic():
            request = _accept_again(earlier, copies, seen=seen, actor=actor, reason=reason)
    finally:
        if request is None:
            for stored in copies:
                default_storage.delete(stored.name)
    return request


def latest_asking(request: Request) -> str:
    """Return the id of the latest request that asks what this one does: the first one, or the latest retry of it."""
    first = _first_asking(request)
    return max([first, *_retries_of(first).values_list("id", flat=True)])


def _first_asking(request: Request) -> str:
    """Return the id of the request of which this one is a retry, or of a retry a retry; else its own."""
    return request.intake_key.split(":")[1] if request.intake_key.startswith(RETRY) else request.id


def _accept_again(
    earlier: Request, copies: Sequence[StoredMedia], *, seen: str, actor: str, reason: str
) -> Request | None:
    # Locked: of two operators the second finds the request of the first, and retention waits. The first asking, too:
    # it is the same for whoever asks anew another retry of it.
    first = _first_asking(earlier)
    rows = {
        row.id: row
        for row in Request.objects.select_for_update(no_key=True).filter(id__in=[first, earlier.id]).order_by("id")
    }
    if earlier.id not in rows:
        raise RetryRefused("It was deleted meanwhile.")
    _check(rows[earlier.id])
    if latest_asking(earlier) != seen:
        return None
    if _retries_of(first).filter(completed_at=None).exists():
        raise RetryRefused("It is being asked anew already.")
    backend = get_delivery_backend()
    request = request_accept(
        intake_key=f"{RETRY}{first}:{seen}",
        account=earlier.user,
        model=earlier.model,
        text=earlier.input_text,
        conversation=earlier.conversation,
        input_media=copies,
        options=earlier.options,
        actor=actor,
        reason=f"{earlier.id} asked anew: {reason}",
        alongside=lambda new: backend.adopt(new.id, from_request_id=earlier.id),
    )
    if request.status == Status.REJECTED:
        raise InsufficientCredits(f"Its user has fewer than the {request.credits} credits that it may cost.")
    return request


def _retries_of(request_id: str) -> QuerySet[Request]:
    prefix = f"{RETRY}{request_id}:"
    # An id follows, or a hexadecimal number in earlier releases. SQLite needs the range: its LIKE reads every key.
    return Request.objects.filter(intake_key__startswith=prefix, intake_key__gte=prefix, intake_key__lt=f"{prefix}s")


def can_be_retried(request: Request) -> bool:
    """Return whether a request has ended so that it can be asked anew, and is still known."""
    return request.status in RETRIED and not request.content_erased_at


def can_be_resent(request: Request) -> bool:
    """Return whether a request has an answer to be shown again."""
    return request.status == Status.COMPLETED and not request.content_erased_at


def _check(request: Request) -> None:
    if not can_be_retried(request):
        erased = "What it asked is erased." if request.content_erased_at else ""
        raise RetryRefused(erased or "Only a failed or cancelled request can be asked anew.")


def _copies_of(request: Request) -> list[StoredMedia]:
    """Return copies of a request's files: retention deletes those of the earlier one with it."""
    key = uuid4().hex  # of these copies alone: another operator's may be in use
    if request.input_media:
        give_back_connection()  # a bucket may be slow
    copies = []
    for number, stored in enumerate(request.input_media):
        store = store_audio if is_audio(stored["content_type"]) else store_image
        try:
            with default_storage.open(stored["name"]) as file:
                copy = store(content=file.read(), key=f"retry-{number}-{key}")
        except Exception as error:  # a missing file, a bucket that is away: each storage has errors of its own
            raise RetryRefused("Its files cannot be copied: the storage does not give them, or takes none.") from error
        if copy is None:
            raise RetryRefused("Its files cannot be read any more.")
        copies.append(copy)
    return copies


def request_resend(*, request_id: str, seen: str) -> bool:
    """Have an answer shown again: the parts of it that are not confirmed as shown, or the whole where all are.

    What was charged or given back stays so. `seen` is the version_of() its delivery that the operator decided on;
    returns False, with nothing done, where something has happened to it since, so a second click shows nothing again.
    Raises ResendRefused where the request has no answer, or none any more.
    """
    with transaction.atomic():
        request = Request.objects.select_for_update(no_key=True).get(id=request_id)
        if not can_be_resent(request):
            erased = "Its answer is erased." if request.content_erased_at else ""
            raise ResendRefused(erased or "Only an answered request has something to show again.")
        is_due = get_delivery_backend().resend(request_id, seen=seen)
        if is_due:
            enqueue_on_commit(DELIVER_TASK, request_id)
    return is_due
