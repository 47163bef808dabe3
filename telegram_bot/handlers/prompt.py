"""A prompt: accepted as a request, with a placeholder for its answer."""

from collections.abc import Sequence

from django.db import transaction

from providers.chain.candidates import can_take_audio
from providers.storage import StoredMedia, store_audio, store_image
from requests_app.errors import RequestRefused
from requests_app.models import AIModel, Request
from requests_app.services.intake import request_accept
from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.chats import thread_ensure
from telegram_bot.delivery.placeholder import placeholder_prepare, placeholder_send
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.models import Delivery
from telegram_bot.selectors import model_for, text_model_for


def prompt(context: HandlerContext) -> str:
    """Any other text – hand it to the chain, and show that somebody is at work."""
    if not context.text.strip():
        context.answer(texts.EMPTY_PROMPT)
        return "refused: empty"
    return _hand_over(context, model_for(context.chat), context.text)


def picture(context: HandlerContext) -> str:
    """A picture – hand it to the chain with the words that stand under it."""
    content = get_client().download(context.image_file_id)
    stored = store_image(content=content, key=f"telegram-{context.update_id}")
    if stored is None:
        context.answer(texts.NO_IMAGE)
        return "refused: not a picture"
    words = context.text.strip() or texts.ABOUT_AN_IMAGE
    return _hand_over(context, text_model_for(context.chat), words, [stored])


def recording(context: HandlerContext) -> str:
    """A voice message or a sound – hand it to the chain where somebody listens."""
    if not can_take_audio():
        context.answer(texts.UNSUPPORTED)
        return "refused: nobody listens"
    content = get_client().download(context.audio_file_id)
    stored = store_audio(content=content, key=f"telegram-{context.update_id}")
    if stored is None:
        context.answer(texts.NO_VOICE_MESSAGE)
        return "refused: not a recording"
    words = context.text.strip() or texts.ABOUT_A_VOICE_MESSAGE
    return _hand_over(context, text_model_for(context.chat), words, [stored])


def _hand_over(context: HandlerContext, model: AIModel | None, words: str, media: Sequence[StoredMedia] = ()) -> str:
    if model is None:
        context.answer(texts.NOTHING_OFFERED)
        return "refused: there is no model"
    try:
        request, placeholder = _accept(context, model, words, media)
    except RequestRefused as error:
        context.answer(texts.refusal(error))
        return f"refused: {error.code}"
    if request.status == Request.Status.REJECTED:
        context.answer(texts.NO_CREDITS)
        return f"refused: {request.error_code}"
    # The executor was enqueued at the commit; it and the placeholder are on their way at the same time.
    if placeholder:
        placeholder_send(delivery=placeholder)
    return f"accepted as {request.id}"


def _accept(
    context: HandlerContext, model: AIModel, words: str, media: Sequence[StoredMedia]
) -> tuple[Request, Delivery | None]:
    """Accept the request and note its placeholder, together; None where one was noted before or none is needed."""
    chat_id, thread_id = context.chat.chat_id, context.thread_id
    thread = thread_ensure(chat_id=chat_id, thread_id=thread_id)
    with transaction.atomic():
        request = request_accept(
            intake_key=f"telegram:{context.update_id}",
            account=context.user.account,
            model=model,
            text=words,
            conversation=thread.conversation_key,
            input_media=media,
        )
        if request.status == Request.Status.REJECTED:
            return request, None
        placeholder = placeholder_prepare(
            request=request, chat_id=chat_id, thread_id=thread_id, reply_to=context.reply_to
        )
    return request, placeholder
