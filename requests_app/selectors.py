"""Queries about requests, AI models and balances that change nothing."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Greatest, Length, Now

from providers.chain.candidates import can_serve
from providers.models import Attempt
from providers.size_estimates import (
    TOKENS_OF_A_SEARCH,
    TOKENS_OF_AN_IMAGE,
    TOKENS_PER_CHARACTER,
    is_audio,
    seconds_by_size,
    tokens_at_most,
    tokens_of_audio,
)
from providers.types import MAX_SEARCHES, Category, Turn
from requests_app.credit_rates import SEARCHES, Size, Terms
from requests_app.dispatch import TEXT
from requests_app.models import Account, AIModel, Request
from requests_app.options import seconds_of

# What a route is asked that takes audio itself, where nothing is written beside it.
LISTEN = "Answer what is said in this voice message, in its language."
MAX_EARLIER_REQUESTS = 10
MAX_HISTORY_CHARACTERS = 16_000


def offered_models() -> list[AIModel]:
    """Return the AI models that some provider can serve now, in the order in which users see them."""
    return _enabled_models(is_served=True)


def unserved_models() -> list[AIModel]:
    """Return the AI models that are enabled, and that nobody is offered because no provider can serve them now."""
    return _enabled_models(is_served=False)


def _enabled_models(*, is_served: bool) -> list[AIModel]:
    models = list(AIModel.objects.filter(enabled=True))
    wanted = {(model.category, model.tag) for model in models}
    served = {(category, tag) for category, tag in wanted if can_serve(Category(category), tag)}
    return [model for model in models if ((model.category, model.tag) in served) is is_served]


def earlier_turns(request: Request) -> QuerySet[Request, tuple[str, str | None, str]]:
    """Return the questions, what was spoken of them, and the answers before a request in its conversation.

    The newest come first. Only text has a history: media routes take none, so with one they would be skipped.
    """
    earlier = _answered_turns(request).filter(created_at__lt=request.created_at)
    return earlier.values_list("input_text", "transcript", "output_text")[:MAX_EARLIER_REQUESTS]


def _answered_turns(request: Request) -> QuerySet[Request]:
    if not request.conversation or request.category != Category.TEXT:
        return Request.objects.none()
    answered = Request.objects.filter(
        user_id=request.user_id,
        conversation=request.conversation,
        category=request.category,
        status=Request.Status.COMPLETED,
        content_erased_at=None,
    )
    return answered.order_by("-created_at")


def question_of(written: str, spoken: str | None) -> str:
    """Return what was asked: what was written, such as the caption of a voice message, and what was spoken."""
    return "\n\n".join(part for part in (written, spoken) if part)


def history_of(request: Request) -> tuple[Turn, ...]:
    """Return the earlier turns of a claimed request, oldest first, as many as fit into a prompt."""
    turns: list[Turn] = []
    characters_left = MAX_HISTORY_CHARACTERS
    for written, spoken, answer in request.earlier_turns or ():  # type: ignore[attr-defined]  # set by its claim
        question = question_of(written, spoken) or LISTEN
        characters_left -= len(question) + len(answer)
        if characters_left < 0:
            break
        turns[:0] = [Turn("user", question), Turn("assistant", answer)]
    return tuple(turns)


def asked_size(request: Request, terms: Terms, *, balance: int) -> Size:
    """Return how large a request is that is about to be accepted, its conversation included.

    A balance that pays for the longest conversation saves the query for how long this one is.
    """
    has_history = request.conversation and request.category == Category.TEXT
    searches = _searches_at_most(terms)
    size = _size_with(request, MAX_HISTORY_CHARACTERS if has_history else 0, searches=searches)
    if not has_history or terms.most(size) <= balance:
        return size
    length = Length("input_text") + Coalesce(Length("transcript"), 0) + Length("output_text")
    turns = _answered_turns(request).annotate(characters=length)
    characters = sum(turns.values_list("characters", flat=True)[:MAX_EARLIER_REQUESTS])
    return _size_with(request, min(characters, MAX_HISTORY_CHARACTERS), searches=searches)


def _searches_at_most(terms: Terms) -> int:
    return MAX_SEARCHES if SEARCHES in terms.rates else 0


def _size_with(request: Request, history_characters: int, *, searches: int = 0) -> Size:
    return Size(
        input_tokens=tokens_at_most(request.input_text)
        + tokens_at_most(settings.SYSTEM_PROMPT)
        + history_characters * TOKENS_PER_CHARACTER
        + sum(TOKENS_OF_AN_IMAGE for file in request.input_media if not is_audio(file["content_type"]))
        + tokens_of_audio(audio_seconds_of(request))
        + searches * TOKENS_OF_A_SEARCH,
        characters=len(request.input_text),
        seconds=seconds_of(request.options),
        heard_seconds=audio_seconds_of(request),
        input_images=input_images_of(request),
        searches=searches,
    )


def audio_seconds_of(request: Request) -> int:
    """Return for how long the audio of a request plays."""
    audio = [file for file in request.input_media if is_audio(file["content_type"])]
    # Files of an earlier release were not measured.
    return sum(file.get("seconds") or seconds_by_size(file["size"]) for file in audio)


def input_images_of(request: Request) -> int:
    """Return how many images the output of a request is made from."""
    images = [file for file in request.input_media if not is_audio(file["content_type"])]
    return len(images) if request.category in (Category.IMAGE, Category.VIDEO) else 0


def credits_at_most(model: AIModel, text: str) -> int:
    """Return what a prompt without a conversation may cost with this AI model."""
    request = Request(category=model.category, input_text=text, options=model.options)
    return model.terms.most(_size_with(request, 0, searches=_searches_at_most(model.terms)))


def requests_under_way(account_id: int) -> QuerySet[Request]:
    """Return the requests of a user that are open, or whose provider call goes on after they were cancelled.

    In two parts, each with an index of its own: one condition for both would read all that the user has ever asked.
    """
    requests = Request.objects.filter(user_id=account_id).order_by()
    calls = Attempt.objects.filter(caller_key=OuterRef("id"), state=Attempt.State.SENDING)
    recent = Now() - timedelta(seconds=max(settings.DEADLINE_SECONDS.values()))
    cancelled = requests.filter(Exists(calls), status=Request.Status.CANCELLED, created_at__gt=recent)
    return requests.filter(status__in=Request.OPEN, completed_at__isnull=True).union(cancelled, all=True)


def text_under_way(account_id: int, conversation: str) -> QuerySet[Request]:
    """Return the open texts of a conversation: what is asked next there is to know their answers."""
    texts = Request.objects.filter(user_id=account_id, category=Category.TEXT, conversation=conversation).order_by()
    return texts.filter(status__in=Request.OPEN, completed_at__isnull=True)


def requests_due(limit: int, *, queue: str, grace: timedelta = timedelta(0)) -> list[str]:
    """Return the requests of a queue that a worker could claim now, the oldest first.

    A fresh one, younger than `grace`, is left to the wake-up that is on its way. A row that somebody holds a lock on is
    among them: the claim passes it by.
    """
    is_text = Q(category=Category.TEXT)
    due = _due().filter(
        is_text if queue == TEXT else ~is_text,
        Q(fence__gt=0) | Q(next_at__isnull=False) | Q(created_at__lt=Now() - grace),
    )
    return list(due.order_by("created_at").values_list("id", flat=True)[:limit])


def _due() -> QuerySet[Request]:
    return Request.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=Now()),
        Q(next_at__isnull=True) | Q(next_at__lte=Now()),
        status__in=Request.OPEN,
        completed_at__isnull=True,  # the partial index says so too
    )


def oldest_due_seconds() -> float:
    """Return for how long the oldest due request has waited for a worker; 0 where none waits.

    More than a few seconds means that workers are missing, or too few.
    """
    due_since = Greatest("created_at", Coalesce("next_at", "created_at"), Coalesce("lease_until", "created_at"))
    return longest_wait_seconds(_due().annotate(due_since=due_since), since="due_since")


def longest_wait_seconds(rows: QuerySet[Any], *, since: str) -> float:
    """Return for how long the oldest of these rows has waited, by the column `since`; 0 where there is none."""
    oldest = rows.order_by(since).annotate(now=Now()).values_list("now", since).first()
    return max(0.0, (oldest[0] - oldest[1]).total_seconds()) if oldest else 0.0


def unfinished_by_status() -> dict[str, int]:
    """Return how many requests there are in each status that is not final, zeros included."""
    unfinished = (*Request.OPEN, Request.Status.QUARANTINED)
    requests = Request.objects.filter(status__in=unfinished, completed_at__isnull=True)  # which has an index
    rows = requests.order_by().values("status").annotate(number=Count("id"))
    return {**dict.fromkeys(unfinished, 0), **{row["status"]: row["number"] for row in rows}}


def credits_outstanding() -> int:
    """Return the sum of all balances: the credits that users may still spend."""
    total: int = Account.objects.aggregate(total=Sum("balance", default=0))["total"]
    return total
