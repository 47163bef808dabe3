"""Handlers of prompts: text, image, recording, file or place becomes a request, with a placeholder for its answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from django.conf import settings

from providers.chain.candidates import can_edit, can_listen, can_transcribe
from providers.storage import StoredMedia, store_audio, store_image
from providers.types import Category
from requests_app.errors import ConversationBusy, RequestRefused, TooManyOpenRequests
from requests_app.models import AIModel, Request
from requests_app.services.intake import request_accept
from telegram_bot import texts
from telegram_bot.api.client import MAX_DOWNLOAD_BYTES, get_client
from telegram_bot.api.errors import CallRefused, NotReached, OutcomeUnsure
from telegram_bot.content.documents import prompt_with_file, text_of
from telegram_bot.content.references import description_with, prompt_about, room_beside
from telegram_bot.content.rendering import is_visible
from telegram_bot.delivery.placeholder import placeholder_prepare, placeholder_send
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.handlers.parts import parts_collect
from telegram_bot.handlers.waiting import must_wait, prompt_wait
from telegram_bot.models import Delivery
from telegram_bot.selectors import text_model_for

FROM_IMAGES = (Category.IMAGE, Category.VIDEO)


def prompt(context: HandlerContext) -> str:
    """Text that is no command – accept it as a request, with the file of the message that it is about."""
    if must_wait(context):
        return prompt_wait(context)
    whole = parts_collect(context)
    return _prompt(whole) if whole else ""


def _prompt(context: HandlerContext) -> str:
    reference = context.reference
    if reference is None:
        return _submit(context, context.model, context.text)
    if reference.image_file_id and _takes_image(context.model):
        if image := _stored(context.update_pk, reference.image_file_id, store_image):
            return _submit_images(context, [image])
        if context.model and context.model.category in FROM_IMAGES:
            return _refuse_image(context)  # another picture would be made
    hears = bool(reference.audio_file_id) and _takes_audio(context.model)
    if hears and (audio := _stored(context.update_pk, reference.audio_file_id, store_audio)):
        return _submit(context, text_model_for(context.model), context.text, [audio])
    return _submit(_without_files(context), context.model, context.text)


def image(context: HandlerContext) -> str:
    """An image – accept it as a request, with its caption as the prompt: answered in words, or changed as it says.

    The others of its album come along. Where one cannot be read, a model that answers in words is told so.
    """
    if must_wait(context):
        return prompt_wait(context)
    whole = parts_collect(context)
    return _images(whole) if whole else ""


def _images(context: HandlerContext) -> str:
    files = [(part.update_pk, part.image_file_id) for part in context.parts]
    files = files or [(context.update_pk, context.image_file_id)]
    stored = [image for update_pk, file_id in files if (image := _stored(update_pk, file_id, store_image))]
    if not stored:
        return _refuse_image(context)
    return _submit_images(_without_files(context), stored, missing=len(files) - len(stored))


def voice(context: HandlerContext) -> str:
    """A voice message or audio file – accept it as a request, where some route turns it into text or takes audio."""
    if not _can_hear():
        return _refuse(context, texts.UNSUPPORTED, "no route takes audio")
    if must_wait(context):
        return prompt_wait(context)
    stored = _stored(context.update_pk, context.audio_file_id, store_audio)
    if stored is None:
        return _refuse(context, texts.AUDIO_UNREADABLE, "not an audio file")
    return _submit(context, text_model_for(context.model), context.text.strip(), [stored])


def document(context: HandlerContext) -> str:
    """A file – accept it as a request, by what it really is: an image, a recording, or text, with its caption."""
    if must_wait(context):
        return prompt_wait(context)
    assert context.document  # noqa: S101 — the dispatcher has seen it
    if context.document.size > MAX_DOWNLOAD_BYTES:
        return _refuse(context, texts.FILE_NOT_GIVEN, "a file that is too large")
    content, context = _download(context.document.file_id), _without_files(context)
    if not content:
        return _refuse(context, texts.FILE_NOT_GIVEN, "a file that Telegram does not give")
    key = _key_of(context.update_pk)
    if image := store_image(content=content, key=key):
        return _submit_images(context, [image])
    if _can_hear() and (audio := store_audio(content=content, key=key)):
        return _submit(context, text_model_for(context.model), context.text.strip(), [audio])
    return _submit_text_file(context, content)


def _submit_text_file(context: HandlerContext, content: bytes) -> str:
    assert context.document  # noqa: S101 — document() has seen it
    limit = settings.MAX_PROMPT_CHARACTERS
    text = text_of(content, limit=limit)
    if text is None or not is_visible(text):
        return _refuse(context, texts.FILE_UNREADABLE, "not a text file")
    # A forwarded file is what it is, whoever has sent it first. Only the file is cut, not what the prompt is about.
    reference = None if context.reference and context.reference.is_forwarded else context.reference
    asked, room = context.text.strip() or texts.DEFAULT_FILE_PROMPT, room_beside(reference, limit=limit)
    whole = prompt_with_file(asked, context.document.name, text, limit=room)
    return _submit(replace(context, reference=reference), text_model_for(context.model), whole)


def item(context: HandlerContext) -> str:
    """A place, a contact, a poll or a list – accept it as a request, described in words."""
    if must_wait(context):
        return prompt_wait(context)
    return _submit(_without_files(context), text_model_for(context.model), context.text)


def _without_files(context: HandlerContext) -> HandlerContext:
    """Return the prompt without the files of what it is about: it brings its own, or cannot use them."""
    return replace(context, reference=context.reference.without_files()) if context.reference else context


def _takes_image(model: AIModel | None) -> bool:
    return model is None or model.category == Category.TEXT or can_edit(Category(model.category), model.tag)


def _takes_audio(model: AIModel | None) -> bool:
    return (model is None or model.category == Category.TEXT) and _can_hear()


def _can_hear() -> bool:
    return can_transcribe() or can_listen()


def _key_of(update_pk: int) -> str:
    return f"telegram-{update_pk}"  # under which a file of this update is stored


def _stored(update_pk: int, file_id: str, store: Callable[..., StoredMedia | None]) -> StoredMedia | None:
    content = _download(file_id)
    return store(content=content, key=_key_of(update_pk)) if content else None


def _refuse(context: HandlerContext, words: str, reason: str) -> str:
    context.answer(words)
    return f"refused: {reason}"


def _refuse_image(context: HandlerContext) -> str:
    return _refuse(context, texts.IMAGE_UNREADABLE, "not an image")


def _submit_images(context: HandlerContext, stored: Sequence[StoredMedia], *, missing: int = 0) -> str:
    text, model = context.text.strip(), context.model
    # What image or video is to be made of it must be said; without a word it is described.
    if text and model and model.category in FROM_IMAGES and can_edit(Category(model.category), model.tag):
        return _refuse_image(context) if missing else _submit(context, model, text, stored)
    text = text or texts.default_image_prompt(len(stored))
    about = f"{text}\n\n{texts.MISSING_IMAGES}" if missing else text
    return _submit(context, text_model_for(model), about, stored)


def _download(file_id: str) -> bytes:
    """Return the content of a file that the user sent; nothing where Telegram refuses it, because it is too large.

    Raises NotReached where it is worth a retry: a download shows nothing, so its outcome is never unsure.
    """
    try:
        return get_client().download(file_id)
    except CallRefused:
        return b""
    except OutcomeUnsure as error:
        raise NotReached(str(error)) from None


def _submit(context: HandlerContext, model: AIModel | None, prompt_text: str, media: Sequence[StoredMedia] = ()) -> str:
    if model is None:
        return _refuse(context, texts.NO_MODEL_AVAILABLE, "no model available")
    about = prompt_about if model.category == Category.TEXT else description_with
    text = about(context.reference, prompt_text, limit=settings.MAX_PROMPT_CHARACTERS)
    if not (text or media):
        return _refuse(context, texts.EMPTY_PROMPT, "empty")
    try:
        request, placeholder = _accept(context, model, text, media)
    except RequestRefused as error:
        accepted = Request.objects.filter(intake_key=context.intake_key).first()
        if accepted is None and isinstance(error, TooManyOpenRequests | ConversationBusy):
            return prompt_wait(context, why=error)
        if accepted is None:
            return _refuse(context, texts.refusal(error), error.code)
        request, placeholder = accepted, None  # by an earlier handling of this update
    if request.status == Request.Status.REJECTED:
        return _refuse(context, texts.NO_CREDITS, request.error_code)
    # The wake-up was enqueued at the commit, so the request is executed while the placeholder is sent.
    if placeholder:
        placeholder_send(delivery=placeholder)
    return f"accepted as {request.id}"


def _accept(
    context: HandlerContext, model: AIModel, prompt_text: str, media: Sequence[StoredMedia]
) -> tuple[Request, Delivery | None]:
    """Accept the request and write its placeholder, together. Without a placeholder there is none to send."""
    placeholder: Delivery | None = None

    def prepare(request: Request) -> None:
        nonlocal placeholder
        placeholder = placeholder_prepare(
            request=request, chat=context.chat, thread_id=context.thread_id, reply_to=context.reply_to
        )

    request = request_accept(
        intake_key=context.intake_key,
        account=context.user.account,
        model=model,
        text=prompt_text,
        conversation=context.conversation_key,
        input_media=media,
        is_in_turn=True,
        alongside=prepare,
    )
    return request, placeholder
