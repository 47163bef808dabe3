"""Where a worker crashes: every commit and every outside call on the way from an update to its answer, by name.

A point is a function as its caller finds it, and the moment just before or just after one call of it. What runs inside
a transaction is lost with it; the names of those points say "not committed".
"""

from dataclasses import dataclass
from enum import StrEnum

TEXT, IMAGE, VIDEO, AUDIO = ALL = ("TEXT", "IMAGE", "VIDEO", "AUDIO")
MEDIA = (IMAGE, VIDEO, AUDIO)


class Loss(StrEnum):
    """What the crash leaves at the provider."""

    NOTHING = "nothing"  # no call was under way, or its outcome is committed
    SUBMISSION = "submission"  # an attempt was recorded, and its call was not made
    ANSWER = "answer"  # a call was made, and its answer is lost


@dataclass(frozen=True)
class CrashPoint:
    """One moment on the way."""

    name: str
    function: str  # dotted, through the module whose code calls it
    is_after: bool
    categories: tuple[str, ...] = ALL
    nth_call: int = 1  # of the function
    loss: Loss = Loss.NOTHING
    is_down: bool = False  # the first provider answers with a 5xx
    is_acknowledged: bool = True  # Telegram got its 200; otherwise it sends the update again
    is_cancelled: bool = False  # the user cancels the video that is being generated
    strays: int = 0  # placeholders that remain in the chat beside the answer


def before(name: str, function: str, *categories: str, **facts: object) -> CrashPoint:
    return CrashPoint(name, function, False, categories or ALL, **facts)  # type: ignore[arg-type]


def after(name: str, function: str, *categories: str, **facts: object) -> CrashPoint:
    return CrashPoint(name, function, True, categories or ALL, **facts)  # type: ignore[arg-type]


POINTS = (
    # From the update to the request.
    before("update written, not committed", "telegram_bot.updates.ingest.enqueue_on_commit", is_acknowledged=False),
    before("update committed", "requests_app.dispatch.enqueue", is_acknowledged=False),
    before("update claimed", "telegram_bot.updates.queue.update_handle"),
    after("credits held, not committed", "telegram_bot.handlers.prompt.placeholder_prepare"),
    before("request and hold committed", "telegram_bot.handlers.prompt.placeholder_send"),
    after("placeholder sent", "telegram_bot.api.client.TelegramClient.send", strays=1),
    after("placeholder recorded", "telegram_bot.handlers.prompt.placeholder_send"),
    after("update recorded as handled", "telegram_bot.updates.queue.update_end"),
    # From the request to the provider and back.
    after("request claimed", "requests_app.services.execution.lease_claim"),
    after("attempt committed", "providers.chain.fallback.attempt_open", loss=Loss.SUBMISSION),
    before("first text received", "providers.chain.attempts.OpenAttempt.record_first_text", TEXT, loss=Loss.ANSWER),
    after("text provider has answered", "providers.backends.base.TextProvider.run", TEXT, loss=Loss.ANSWER),
    after(
        "media provider has answered",
        "providers.backends.media_generation.MediaProvider.run",
        *MEDIA,
        loss=Loss.ANSWER,
    ),
    after("failure committed", "providers.chain.attempts.OpenAttempt.fail", TEXT, IMAGE, AUDIO, is_down=True),
    after("job's id committed", "providers.chain.attempts.OpenAttempt.start_job", VIDEO),
    after("lease released", "requests_app.services.execution.lease_give_back", VIDEO),
    before("about to poll the job", "providers.chain.fallback.poll_job", VIDEO),
    after("job polled", "providers.chain.fallback.poll_job", VIDEO),
    before("output fetched", "providers.chain.outputs.store_output", *MEDIA, loss=Loss.ANSWER),
    after("output stored", "providers.chain.outputs.store_output", *MEDIA, loss=Loss.ANSWER),
    after("credits captured, not committed", "requests_app.statements.request_complete", loss=Loss.ANSWER),
    before("answer and capture committed", "providers.chain.circuit_breaker.record_success"),
    # From the answer to the chat.
    before("about to show the text", "telegram_bot.api.client.TelegramClient.edit", TEXT),
    after("text shown", "telegram_bot.api.client.TelegramClient.edit", TEXT),
    before("about to show the file", "telegram_bot.api.client.TelegramClient.edit_media", *MEDIA),
    after("file shown", "telegram_bot.api.client.TelegramClient.edit_media", *MEDIA),
    after("delivery recorded", "telegram_bot.delivery.backend.TelegramDeliveryBackend.deliver"),
    # The placeholder was the first message that was sent.
    before("notice claimed", "telegram_bot.api.client.TelegramClient.send", VIDEO, nth_call=2),
    after("notice sent", "telegram_bot.api.client.TelegramClient.send", VIDEO, nth_call=2),
    # A video that its user cancels while it is being generated.
    after(
        "credits released, not committed",
        "requests_app.services.completion.credits_release",
        VIDEO,
        is_cancelled=True,
    ),
    after("cancellation committed", "telegram_bot.handlers.cancel.request_cancel", VIDEO, is_cancelled=True),
    before("about to cancel the job", "requests_app.tasks.job_cancel", VIDEO, is_cancelled=True),
    after("job cancelled", "requests_app.tasks.job_cancel", VIDEO, is_cancelled=True),
)
