"""A prompt: accepted as a request, with a placeholder for its answer."""

from django.db import transaction

from requests_app.errors import RequestRefused
from requests_app.models import AIModel, Request
from requests_app.services.intake import request_accept
from telegram_bot import texts
from telegram_bot.handlers.incoming import Incoming
from telegram_bot.people import thread_ensure
from telegram_bot.placing import placeholder_place, placeholder_prepare
from telegram_bot.selectors import model_for


def prompt(incoming: Incoming) -> str:
    """Any other text – hand it to the chain, and show that somebody is at work."""
    if not incoming.text.strip():
        incoming.answer(texts.EMPTY_PROMPT)
        return "refused: empty"
    model = model_for(incoming.chat)
    if model is None:
        incoming.answer(texts.NOTHING_OFFERED)
        return "refused: no model is offered"
    try:
        request = _accept(incoming, model)
    except RequestRefused as error:
        incoming.answer(texts.refusal(error))
        return f"refused: {error.code}"
    if request.status == Request.Status.REJECTED:
        incoming.answer(texts.NO_CREDITS)
        return f"refused: {request.error_code}"
    # The executor was rung at the commit; it and the placeholder are on their way at the same time.
    placeholder_place(request_id=request.id)
    return f"accepted as {request.id}"


def _accept(incoming: Incoming, model: AIModel) -> Request:
    chat_id, thread_id = incoming.chat.chat_id, incoming.thread_id
    thread = thread_ensure(chat_id=chat_id, thread_id=thread_id)
    with transaction.atomic():
        request = request_accept(
            intake_key=f"telegram:{incoming.update_id}",
            account=incoming.user.account,
            model=model,
            text=incoming.text,
            conversation=thread.conversation_key,
        )
        if request.status != Request.Status.REJECTED:
            placeholder_prepare(request=request, chat_id=chat_id, thread_id=thread_id, reply_to=incoming.reply_to)
    return request
