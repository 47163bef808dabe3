"""The table of handlers, and the routing of an update to one of them."""

from collections.abc import Callable

import telegram
from telegram.constants import ChatMemberStatus, ChatType

from requests_app.models import AIModel
from requests_app.services.maintenance import maintenance_mode
from telegram_bot.api.client import get_client
from telegram_bot.chats import chat_ensure, chat_seen, chat_set_reachable, user_ensure
from telegram_bot.content.described import described
from telegram_bot.content.parsing import update_read
from telegram_bot.content.references import Reference, reference_of
from telegram_bot.content.rendering import is_visible, units_of
from telegram_bot.handlers.balance import balance
from telegram_bot.handlers.cancel import cancel
from telegram_bot.handlers.context import Document, HandlerContext, topic_of
from telegram_bot.handlers.fallbacks import unknown_button, unknown_command, unsupported
from telegram_bot.handlers.model_choice import model_choose, model_menu
from telegram_bot.handlers.new import new
from telegram_bot.handlers.operator import route_button
from telegram_bot.handlers.prompt import document, image, item, prompt, voice
from telegram_bot.handlers.start import help, start  # noqa: A004 — the command's name
from telegram_bot.keyboards import CHOOSE_MODEL, PAUSE_ROUTE, RESUME_ROUTE, parse_press
from telegram_bot.models import HeldFor, TelegramChat, TelegramUpdate
from telegram_bot.statements import Known
from telegram_bot.updates.filters import parse_message, reason_to_ignore
from telegram_bot.updates.held_back import update_wait_for_maintenance

Handler = Callable[[HandlerContext], str]

COMMANDS: dict[str, Handler] = {
    "start": start,
    "new": new,
    "cancel": cancel,
    "model": model_menu,
    "balance": balance,
    "help": help,
}
BUTTONS: dict[str, Handler] = {
    CHOOSE_MODEL: model_choose,
    PAUSE_ROUTE: route_button,
    RESUME_ROUTE: route_button,
}
PROMPTS: tuple[Handler, ...] = (prompt, image, voice, document, item)
NOTHING_KNOWN = Known()
UNREACHABLE_STATUSES = {ChatMemberStatus.BANNED, ChatMemberStatus.LEFT}


def update_handle(*, row: TelegramUpdate, known: Known = NOTHING_KNOWN) -> str:
    """Handle an update, and return in words what was done or why nothing was, "" where it is to be handled later.

    `known` spares reading it again.

    Handling one again is harmless, except that a command may be answered twice: what a handler acts on is noted on the
    update's row when it is first handled. Raises BotApiError.
    """
    update = update_read(row.raw)
    if update is None:
        return "ignored: cannot be parsed"
    if update.message:
        return _handle_message(row, update.message, known)
    if update.callback_query:
        return _handle_button(row, update.callback_query, known)
    if update.my_chat_member:
        return _handle_membership(row, update.my_chat_member, known)
    return f"ignored: {row.kind}"


def _handle_message(row: TelegramUpdate, message: telegram.Message, known: Known) -> str:
    reason = reason_to_ignore(message)
    if reason:
        return f"ignored: {reason}"
    parsed = parse_message(message)
    if parsed is None:
        return "ignored: not meant for the bot"
    handler = _handler_for(message, parsed.command)
    if handler is unknown_command and parsed.is_ambiguous:
        return "ignored: a command that may be another bot's"
    if handler in (image, unsupported) and _is_later_in_album(row, message, is_image=handler is image):
        return "ignored: belongs to an album that was answered"
    # What follows a command that may be another bot's is not to be paid for.
    is_said = is_visible(parsed.text) and not (handler is new and parsed.is_ambiguous)
    text = parsed.text if is_said else described(message)
    is_prompt = handler in PROMPTS or (handler is new and is_said)
    audio = message.voice or message.audio
    assert message.from_user is not None  # noqa: S101 — reason_to_ignore() has checked it
    context = HandlerContext(
        update_pk=row.pk,
        user=user_ensure(sender=message.from_user, known=known.user),
        chat=_chat_of(row, message.chat, known),
        known_thread=known.thread,
        known_model=_noted_model(row) or known.model,
        thread_id=topic_of(message),
        message_id=message.message_id,
        text=text,
        image_file_id=message.photo[-1].file_id if message.photo else "",
        audio_file_id=audio.file_id if audio else "",
        document=_document_in(message),
        album_id=message.media_group_id or "",
        sent_at=int(message.date.timestamp()),
        units=units_of(message.text or ""),
        reference=_reference_in(message, is_address=parsed.is_address) if is_prompt else None,
        noted_target=row.target,
        held_for=(row.held_for or HeldFor.MAINTENANCE) if row.held_at else "",
        is_behind=known.is_behind,
    )
    mode = maintenance_mode() if is_prompt else None
    if mode is not None:
        update_wait_for_maintenance(context=context, mode=mode)
        return ""
    return handler(context)


def _noted_model(row: TelegramUpdate) -> AIModel | None:
    """Return the AI model that a prompt waits for: meanwhile somebody may have chosen another, at another price."""
    _, _, noted = row.target.partition("/") if row.held_at else ("", "", "")
    return AIModel.objects.filter(pk=noted, enabled=True).first() if noted else None


def _reference_in(message: telegram.Message, *, is_address: bool) -> Reference | None:
    names_somebody = message.forward_origin or message.reply_to_message or message.external_reply
    bot_id = get_client().me().id if names_somebody else 0  # else without asking Telegram who the bot is
    return reference_of(message, bot_id=bot_id, is_address=is_address)


def _handler_for(message: telegram.Message, command: str) -> Handler:
    if command:
        return COMMANDS.get(command, unknown_command)
    if message.photo:
        return image
    if message.voice or message.audio:
        return voice
    if message.document and not message.animation:
        return document
    if described(message):
        return item
    return prompt if message.text is not None else unsupported


def _document_in(message: telegram.Message) -> Document | None:
    file = message.document
    return Document(file.file_id, file.file_name or "", file.file_size or 0) if file else None


def _chat_of(row: TelegramUpdate, chat: telegram.Chat, known: Known) -> TelegramChat:
    """Return the row of the chat in which somebody has written or pressed a button."""
    seen = known.chat if known.chat and known.chat.pk == row.chat_id else chat_ensure(telegram_id=chat.id)
    chat_seen(chat=seen, type=chat.type)
    return seen


def _is_later_in_album(row: TelegramUpdate, message: telegram.Message, *, is_image: bool) -> bool:
    """Return whether this message of an album comes too late for what is said of that.

    An album comes as one update per file. What cannot be read is told once, and an image waits for an earlier one,
    which takes it along.
    """
    if message.media_group_id is None:
        return False
    recent = (row.update_id - 20, row.update_id - 1)
    earlier = TelegramUpdate.objects.filter(update_id__range=recent, bot_id=row.bot_id, chat_id=row.chat_id)
    if is_image:
        earlier = earlier.filter(handled_at__isnull=False, raw__message__photo__isnull=False)
    return earlier.filter(raw__message__media_group_id=message.media_group_id).exists()


def _handle_button(row: TelegramUpdate, query: telegram.CallbackQuery, known: Known) -> str:
    if query.message is None:
        return "ignored: a button outside a chat"
    press = parse_press(query.data)
    message = query.message
    context = HandlerContext(
        update_pk=row.pk,
        user=user_ensure(sender=query.from_user, known=known.user),
        chat=_chat_of(row, message.chat, known),
        thread_id=topic_of(message) if isinstance(message, telegram.Message) else None,
        message_id=message.message_id,
        callback_id=query.id,
        press=press,
        noted_target=row.target,
    )
    return BUTTONS.get(press.action if press else "", unknown_button)(context)


def _handle_membership(row: TelegramUpdate, change: telegram.ChatMemberUpdated, known: Known) -> str:
    """Record that the bot was blocked or removed, or that it may write again."""
    if change.chat.type == ChatType.CHANNEL:
        return "ignored: a channel"
    is_reachable = change.new_chat_member.status not in UNREACHABLE_STATUSES
    chat = _chat_of(row, change.chat, known)
    chat_set_reachable(chat_id=chat.pk, is_reachable=is_reachable)
    return "reachable" if is_reachable else "not reachable any more"
