"""The /new command."""

from dataclasses import replace

from telegram_bot import texts
from telegram_bot.chats import conversation_begin
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.handlers.prompt import prompt


def new(context: HandlerContext) -> str:
    """/new – start a new conversation in this chat or topic, with what follows as its first prompt.

    Idempotent: a repeat starts no second one.
    """
    thread = context.thread
    noted = context.choose(lambda: f"{thread.conversation + 1}/")
    number, _, _ = noted.partition("/")
    conversation_begin(thread=thread, number=int(number))
    if context.text:
        outcome = prompt(replace(context, noted_target=noted))
        return outcome and f"started a conversation; {outcome}"  # empty: it is handled again later
    context.answer(texts.NEW_CONVERSATION)
    return "started a conversation"
