"""A prompt: accepted as a request, with a placeholder for its answer."""

from collections.abc import Sequence

from django.db import transaction

from providers.chain.candidates import can_listen
from providers.storage import StoredMedia, keep_picture, keep_recording
from requests_app.errors import RequestRefused
from requests_app.models import AIModel, Request
from requests_app.services.intake import request_accept
from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.chats import thread_ensure
from telegram_bot.delivery.placeholder import placeholder_prepare, placeholder_send
from telegram_bot.handlers.context import Incoming
from telegram_bot.models import Delivery
from telegram_bot.selectors import model_for, text_model_for


def prompt(incoming: Incoming) -> str:
    """Any other text – hand it to the chain, and show that somebody is at work."""
    if not incoming.text.strip():
        incoming.answer(texts.EMPTY_PROMPT)
        return "refused: empty"
    return _hand_over(incoming, model_for(incoming.chat), incoming.text)


def picture(incoming: Incoming) -> str:
    """A picture – hand it to the chain with the words that stand under it."""
    content = get_client().download(incoming.picture_id)
    stored = keep_picture(content=content, key=f"telegram-{incoming.update_id}")
    if stored is None:
        incoming.answer(texts.NO_PICTURE)
        return "refused: not a picture"
    words = incoming.text.strip() or texts.ABOUT_A_PICTURE
    return _hand_over(incoming, text_model_for(incoming.chat), words, [stored])


def recording(incoming: Incoming) -> str:
    """A voice message or a sound – hand it to the chain where somebody listens."""
    if not can_listen():
        incoming.answer(texts.UNSUPPORTED)
        return "refused: nobody listens"
    content = get_client().download(incoming.recording_id)
    stored = keep_recording(content=content, key=f"telegram-{incoming.update_id}")
    if stored is None:
        incoming.answer(texts.NO_RECORDING)
        return "refused: not a recording"
    words = incoming.text.strip() or texts.ABOUT_A_RECORDING
    return _hand_over(incoming, text_model_for(incoming.chat), words, [stored])


def _hand_over(incoming: Incoming, model: AIModel | None, words: str, media: Sequence[StoredMedia] = ()) -> str:
    if model is None:
        incoming.answer(texts.NOTHING_OFFERED)
        return "refused: there is no model"
    try:
        request, placeholder = _accept(incoming, model, words, media)
    except RequestRefused as error:
        incoming.answer(texts.refusal(error))
        return f"refused: {error.code}"
    if request.status == Request.Status.REJECTED:
        incoming.answer(texts.NO_CREDITS)
        return f"refused: {request.error_code}"
    # The executor was rung at the commit; it and the placeholder are on their way at the same time.
    if placeholder:
        placeholder_send(delivery=placeholder)
    return f"accepted as {request.id}"


def _accept(
    incoming: Incoming, model: AIModel, words: str, media: Sequence[StoredMedia]
) -> tuple[Request, Delivery | None]:
    """Accept the request and note its placeholder, together; None where one was noted before or none is needed."""
    chat_id, thread_id = incoming.chat.chat_id, incoming.thread_id
    thread = thread_ensure(chat_id=chat_id, thread_id=thread_id)
    with transaction.atomic():
        request = request_accept(
            intake_key=f"telegram:{incoming.update_id}",
            account=incoming.user.account,
            model=model,
            text=words,
            conversation=thread.conversation_key,
            input_media=media,
        )
        if request.status == Request.Status.REJECTED:
            return request, None
        placeholder = placeholder_prepare(
            request=request, chat_id=chat_id, thread_id=thread_id, reply_to=incoming.reply_to
        )
    return request, placeholder
