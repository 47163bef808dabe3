"""The /new command."""

from telegram_bot import texts
from telegram_bot.chats import conversation_begin
from telegram_bot.handlers.context import HandlerContext


def new(context: HandlerContext) -> str:
    """/new – start a new conversation in this chat or topic."""
    conversation_begin(chat_id=context.chat.chat_id, thread_id=context.thread_id)
    context.answer(texts.NEW_CONVERSATION)
    return "started a conversation"
