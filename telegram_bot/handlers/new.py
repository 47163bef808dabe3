"""Beginning afresh."""

from telegram_bot import texts
from telegram_bot.chats import conversation_begin
from telegram_bot.handlers.context import Incoming


def new(incoming: Incoming) -> str:
    """/new – begin a new conversation in this chat or topic."""
    conversation_begin(chat_id=incoming.chat.chat_id, thread_id=incoming.thread_id)
    incoming.answer(texts.NEW_CONVERSATION)
    return "began a conversation"
