"""Where a worker dies: every commit and every outside call on the way from an update to its answer, by name.

A point is a function as its caller finds it, and the moment just before or just after one call of it. Functions that
run inside a transaction die with it; the names say so with "not committed".
"""

from dataclasses import dataclass
from enum import StrEnum

TEXT, IMAGE, VIDEO, AUDIO = ALL = ("TEXT", "IMAGE", "VIDEO", "AUDIO")
MEDIA = (IMAGE, VIDEO, AUDIO)


class Loss(StrEnum):
    """What the vendor's side of the story looks like after the crash."""

    NOTHING = "nothing"  # no call was under way, or its outcome is committed
    ORDER = "order"  # a call was noted and not made
    ANSWER = "answer"  # a call was made, and what it brought is lost


@dataclass(frozen=True)
class Point:
    """One moment on the way."""

    name: str
    function: str  # dotted, through the module whose code calls it
    is_after: bool
    categories: tuple[str, ...] = ALL
    loss: Loss = Loss.NOTHING
    is_down: bool = False  # the first vendor is, and says so
    is_acknowledged: bool = True  # Telegram got its 200; otherwise it sends the update again
    is_cancelled: bool = False  # the user cancels the film that is being made
    strays: int = 0  # placeholders that remain in the chat beside the answer


def before(name: str, function: str, *categories: str, **facts: object) -> Point:
    return Point(name, function, False, categories or ALL, **facts)  # type: ignore[arg-type]


def after(name: str, function: str, *categories: str, **facts: object) -> Point:
    return Point(name, function, True, categories or ALL, **facts)  # type: ignore[arg-type]


POINTS = (
    # From the update to the request.
    before("update written, not committed", "telegram_bot.updates.ingest.enqueue_on_commit", is_acknowledged=False),
    before("update committed", "requests_app.dispatch.enqueue", is_acknowledged=False),
    before("update claimed", "telegram_bot.updates.queue.update_handle"),
    after("credits held, not committed", "telegram_bot.handlers.prompt.placeholder_prepare"),
    before("request and hold committed", "telegram_bot.handlers.prompt.placeholder_send"),
    after("placeholder sent", "telegram_bot.delivery.placeholder._send", strays=1),
    before("placeholder noted", "telegram_bot.updates.queue._end"),
    after("update noted as handled", "telegram_bot.updates.queue._end"),
    # From the request to the vendor and back.
    after("request claimed", "requests_app.services.execution.lease_claim"),
    after("attempt committed", "providers.chain.fallback.attempt_open", loss=Loss.ORDER),
    before("first words received", "providers.chain.attempts.OpenAttempt.record_first_text", TEXT, loss=Loss.ANSWER),
    after("vendor has answered", "providers.chain.fallback.FallbackManager._call", loss=Loss.ANSWER),
    after("failure committed", "providers.chain.attempts.OpenAttempt.fail", TEXT, IMAGE, AUDIO, is_down=True),
    after("job's id committed", "providers.chain.attempts.OpenAttempt.start_job", VIDEO),
    after("lease given back", "requests_app.services.execution.lease_give_back", VIDEO),
    before("about to ask for the job", "providers.chain.fallback.poll_job", VIDEO),
    after("asked for the job", "providers.chain.fallback.poll_job", VIDEO),
    before("output fetched", "providers.chain.fallback.store_output", *MEDIA, loss=Loss.ANSWER),
    after("output stored", "providers.chain.fallback.store_output", *MEDIA, loss=Loss.ANSWER),
    after("credits captured, not committed", "requests_app.services.completion.credits_capture", loss=Loss.ANSWER),
    before("answer and capture committed", "providers.chain.circuit_breaker.record_success"),
    # From the answer to the chat.
    before("about to show the answer", "telegram_bot.delivery.backend._edit"),
    after("answer shown", "telegram_bot.delivery.backend._edit"),
    after("delivery noted", "telegram_bot.delivery.backend.TelegramDeliveryBackend.deliver"),
    before("notice claimed", "telegram_bot.delivery.backend._send_as_it_goes", VIDEO),
    after("notice sent", "telegram_bot.delivery.backend._send_as_it_goes", VIDEO),
    # A film that its user cancels while it is being made.
    after(
        "credits released, not committed",
        "requests_app.services.completion.credits_release",
        VIDEO,
        is_cancelled=True,
    ),
    after("cancellation committed", "telegram_bot.handlers.cancel.request_cancel", VIDEO, is_cancelled=True),
    before("about to stop the job", "requests_app.tasks.job_cancel", VIDEO, is_cancelled=True),
    after("job stopped", "requests_app.tasks.job_cancel", VIDEO, is_cancelled=True),
)
