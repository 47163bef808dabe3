"""The /new command."""

from telegram_bot import texts
from telegram_bot.chats import conversation_begin
from telegram_bot.handlers.context import HandlerContext


def new(context: HandlerContext) -> str:
    """/new – start a new conversation in this chat or topic. Idempotent: a repeat starts no second one."""
    thread = context.thread
    number = context.choose(lambda: str(thread.conversation + 1))
    conversation_begin(thread=thread, number=int(number))
    context.answer(texts.NEW_CONVERSATION)
    return "started a conversation"
