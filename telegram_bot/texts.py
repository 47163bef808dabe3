"""Every sentence that a user reads. Short, warm and plain; no vendor's words."""

from collections.abc import Sequence

from requests_app.errors import RequestRefused
from requests_app.models import AIModel, Request

PLACEHOLDER = "⏳"
READY = "✅ Ready."
NOT_READY = "⚠️ That did not work; please see above."
TOO_LARGE = "✅ Your file is ready, but it is too large for Telegram. The operator of this service can give it to you."
BLANK_ANSWER = "The answer came back without any text. Please ask again in other words."

HELP = """Just write to me, and I answer.

/new – start afresh; I forget what we talked about
/cancel – stop what you asked for last
/model – choose who answers
/balance – see your credits
/help – this text

In groups, mention me or reply to one of my messages. A question that fails costs nothing."""

NOTHING_OFFERED = "No model is available right now. Please try again later."
NEW_CONVERSATION = "A fresh start. What would you like to know?"
CHOOSE_MODEL = "Who should answer from now on?"
MODEL_GONE = "That one is not available any more. /model shows what is."
NOT_YOUR_BUTTON = "Somebody else opened this menu. Send /model for one of your own."
OLD_BUTTON = "This button is no longer in use."
UNKNOWN_COMMAND = "I don't know that command. /help lists what I can do."
UNSUPPORTED = "I can read text and look at pictures, nothing else so far. Please describe it in words."
NO_IMAGE = "I cannot open this picture. Please send it as a photo."
NO_VOICE_MESSAGE = "I cannot play this recording. Please send it as a voice message."
ABOUT_A_VOICE_MESSAGE = "Answer what is said in this recording, in its language."
ABOUT_AN_IMAGE = "What is in this picture?"
NOTHING_TO_CANCEL = "Nothing of yours is being worked on."
CANCELLING = "Cancelled; your credits are back."
EMPTY_PROMPT = "What would you like to know? Write it in the same message."
NO_CREDITS = (
    "You have no credits left for this. Please ask the operator of this bot for more. /balance shows your credits."
)

# Why a request was not accepted. What is not listed here speaks for itself; see requests_app/errors.py.
REFUSALS = {
    "BLOCKED": "You cannot use this bot at present. Please ask its operator.",
    "TOO_MANY_OPEN": "I am still busy with your earlier questions. Please wait for an answer, then ask again.",
    "UNKNOWN_MODEL": MODEL_GONE,
}

# What happened to a request that ended without an answer, by its error code.
FAILURES = {
    "ALL_PROVIDERS_FAILED": "I could not get an answer: everyone I asked failed. Please try again in a few minutes.",
    "NO_PROVIDER": "Nobody can answer this at the moment. Please try again later.",
    "CONTENT_REFUSED": "This was refused because of its content. Please ask in other words.",
    "DEADLINE": "This took too long, so I stopped. Please try again.",
    "PAYMENT_UNCERTAIN": "The connection broke off midway, so I stopped. Please try again.",
    "STORAGE_FAILED": "It was made, but I could not keep it, so I stopped. Please try again later.",
    "CANCELLED": "Cancelled.",
}
FAILURE = "That did not work. Please try again."

# What Telegram shows beside the input field, and on the bot's page. The empty language is for everyone else.
COMMANDS = {
    "": {
        "new": "Start a new conversation",
        "cancel": "Stop what you asked for last",
        "model": "Choose who answers",
        "balance": "See your credits",
        "help": "What I can do",
    }
}
DESCRIPTIONS = {"": "Ask me anything. If one AI cannot answer, I ask the next; a question that fails costs nothing."}
SHORT_DESCRIPTIONS = {"": "Answers from several AIs, one after the other until one works."}


def greeting(name: str, balance: int, models: Sequence[AIModel]) -> str:
    """Return the answer to /start."""
    opening = f"Hello {name}! 👋" if name else "Hello! 👋"
    if not models:
        return f"{opening}\n\n{NOTHING_OFFERED}"
    return (
        f"{opening}\n\nWrite me a question, and I find an AI that answers it. You have {credits_of(balance)}.\n\n"
        "Choose who should answer, or just begin:"
    )


def model_line(model: AIModel, *, is_chosen: bool = False) -> str:
    """Return the words on a model's button."""
    return f"{'✓ ' if is_chosen else ''}{model.name} · {credits_of(model.token_cost)}"


def model_chosen(model: AIModel) -> str:
    """Return what replaces the menu once a model is chosen."""
    description = f" {model.description}" if model.description else ""
    return f"✓ {model.name} answers from now on.{description}\nEach answer costs {credits_of(model.token_cost)}."


def balance_line(balance: int) -> str:
    """Return the answer to /balance."""
    return f"You have {credits_of(balance)}."


def credits_of(number: int) -> str:
    """Return a number of credits in words."""
    return f"{number:,} credit" if number == 1 else f"{number:,} credits"


def refusal(error: RequestRefused) -> str:
    """Return why a prompt was not accepted."""
    return REFUSALS.get(error.code) or str(error)


def failure(request: Request) -> str:
    """Return what happened to a request that ended without an answer, and that it costs nothing."""
    if request.status == Request.Status.REJECTED:
        return NO_CREDITS
    what = FAILURES.get(request.error_code, FAILURE)
    if not request.credits:
        return f"⚠️ {what}"
    is_or_are = "is" if request.credits == 1 else "are"
    return f"⚠️ {what}\n\nYour {credits_of(request.credits)} {is_or_are} back."
