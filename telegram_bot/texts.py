"""All texts that a user reads: short, warm and plain, and never a provider's words."""

from collections.abc import Sequence

from providers.models import ProviderConfig
from requests_app.errors import RequestRefused
from requests_app.models import AIModel, Request

PLACEHOLDER = "⏳"
NOTICE_READY = "✅ Ready."
NOTICE_FAILED = "⚠️ That did not work; please see above."
PART_NOT_SHOWN = "⚠️ A part of the answer belongs here, but Telegram does not take it."
WHOLE_ANSWER_IN_FILE = "📄 It is long, so the whole answer is in this file."
ANSWER_CUT_BY_BALANCE = "✂️ The answer was cut here. With more credits it may be longer: /balance shows what is left."
ANSWER_CUT = "✂️ The answer was cut here: it is as long as one may be. Write “go on” for the rest."
COSTS_NOTHING = "\n\nIt costs you nothing."  # what was held of a price by size would surprise
EMPTY_ANSWER = "The answer came back without any text. Please ask again in other words."
# What takes the place of an answer that cannot be shown, by the delivery's reason.
NOT_SHOWN = {
    "FORBIDDEN": "⚠️ Your file is ready, but this chat does not allow me to send it. Please ask in another chat.",
    "FILE_LOST": "⚠️ Your file was made, but I cannot find it any more. Please try again.",
    "TOO_LARGE": (
        "⚠️ Your file is ready, but it is too large for Telegram. The operator of this service can give it to you."
    ),
    "EMPTY": EMPTY_ANSWER,
}
NOT_SHOWN_OTHERWISE = "⚠️ I have an answer, but I could not show it here. Please ask again."

HELP = """Just write to me, and I answer.

/new – start a new conversation; I forget the old one
/cancel – stop your last request, and what waits for it
/model – choose an AI model
/balance – see your credits
/help – this text

Ask about a photo, an album or a text file in its caption, about any message in a reply to it. Voice messages are heard.
In groups, mention me or reply to one of my messages.
A question that fails costs nothing."""

OPERATOR_CLAIMED = "This chat is the operator's now: I write here when something needs you, and when it is over."
ROUTE_BUTTONS = {"pause": "⏸ Pause {route} for an hour", "resume": "▶️ Resume {route}"}
ROUTE_PAUSED = "⏸ {route} is paused for an hour."
ROUTE_RESUMED = "▶️ {route} is asked again."
ROUTE_WAS_NOT_PAUSED = "{route} was not paused any more."
NOT_THE_OPERATORS = "Only the operator's chat may do that."
MAINTENANCE = "🔧 I am being looked after just now. Your message waits here and costs nothing; I answer it afterwards."
NO_MODEL_AVAILABLE = "No model is available right now. Please try again later."
NEW_CONVERSATION = "A fresh start. What would you like to know?"
CHOOSE_MODEL = "Who should answer from now on?"
MODEL_UNAVAILABLE = "That model is not available any more. /model shows those that are."
NOT_YOUR_BUTTON = "Somebody else opened this menu. Send /model for one of your own."
BUTTON_EXPIRED = "This button no longer works."
UNKNOWN_COMMAND = "I don't know that command. /help lists what I can do."
UNSUPPORTED = "I can read text and text files, look at images and hear recordings. Please describe it in words."
FILE_UNREADABLE = "I cannot read this file. I can read text: notes, source code, tables such as CSV."
FILE_NOT_GIVEN = "Telegram does not give me this file: it gives me up to 20 MB, and not for ever."
IMAGE_UNREADABLE = "I cannot open this image. Please send it as a photo."
AUDIO_UNREADABLE = "I cannot play this file. Please send it as a voice message."
# What a prompt says of images that come without a word, and of those that cannot be read.
DEFAULT_IMAGE_PROMPT, DEFAULT_IMAGES_PROMPT = "What is in this image?", "What is in these images?"
DEFAULT_FILE_PROMPT = "What is in this file?"
MISSING_IMAGES = "(Not all of the images could be read.)"
NOTHING_TO_CANCEL = "You have no open request here."
CANCELLED = "Cancelled; your credits are back."
CANCELLED_BUT_SHOWN = "Cancelled. A part of the answer was shown already, so it costs {credits}."
LEFT_OUT = "That is more than I can take at once. Please send your last messages again once I have answered."
EMPTY_PROMPT = "What would you like to know? Write it in the same message."
NO_CREDITS = (
    "You have no credits left for this. Please ask the operator of this bot for more. /balance shows your credits."
)

# Why a request was not accepted, by the error's code. Errors not listed show their own message.
REFUSALS = {
    "BLOCKED": "You cannot use this bot at present. Please ask its operator.",
    "UNKNOWN_MODEL": MODEL_UNAVAILABLE,
}

# What happened to a request that ended without an answer, by its error code.
FAILURES = {
    "ALL_PROVIDERS_FAILED": "I could not get an answer: every AI I asked failed. Please try again in a few minutes.",
    "NO_PROVIDER": "No AI can answer this at the moment. Please try again later.",
    "CONTENT_REFUSED": "This was refused because of its content. Please ask in other words.",
    "DEADLINE": "This took too long, so I stopped. Please try again.",
    "PAYMENT_UNCERTAIN": "The connection broke midway, so I stopped. Please try again.",
    "NOTHING_HEARD": "I heard no words in it. Please say it again, or write it.",
    "STORAGE_FAILED": "It was made, but I could not save it, so I stopped. Please try again later.",
    "CANCELLED": "Cancelled.",
}
OTHER_FAILURE = "That did not work. Please try again."

# The command menu and the bot's descriptions, by language; "" is for all others.
COMMANDS = {
    "": {
        "new": "Start a new conversation",
        "cancel": "Stop your last request",
        "model": "Choose an AI model",
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
        return f"{opening}\n\n{NO_MODEL_AVAILABLE}"
    return (
        f"{opening}\n\nWrite me a question, and I find an AI that answers it. You have {credits_of(balance)}.\n\n"
        "Choose who should answer, or just begin:"
    )


def model_button(model: AIModel, *, is_chosen: bool = False) -> str:
    """Return the text on an AI model's button."""
    return f"{'✓ ' if is_chosen else ''}{model.name} · {_price_of(model)}"


def route_name(route: ProviderConfig) -> str:
    """Return what the operator's chat calls a route."""
    return f"{route.label} in {route.category}"


def model_chosen(model: AIModel) -> str:
    """Return what replaces the menu once an AI model is chosen."""
    description = f" {model.description}" if model.description else ""
    by_size = ", by its size" if model.rates else ""
    return f"✓ {model.name} answers from now on.{description}\nEach answer costs {_price_of(model)}{by_size}."


def _price_of(model: AIModel) -> str:
    return f"{'from ' if model.rates else ''}{credits_of(model.token_cost)}"


def answer_cut(request: Request) -> str:
    """Return what stands below an answer that ends before its end."""
    return ANSWER_CUT_BY_BALANCE if request.terms.get("shortened") else ANSWER_CUT


def balance_text(balance: int) -> str:
    """Return the answer to /balance."""
    return f"You have {credits_of(balance)}."


def credits_of(number: int) -> str:
    """Return a number of credits with its unit."""
    return f"{number:,} credit" if number == 1 else f"{number:,} credits"


def refusal(error: RequestRefused) -> str:
    """Return why a prompt was not accepted."""
    return REFUSALS.get(error.code) or str(error)


def cancelled(charged: int) -> str:
    """Return the answer to /cancel, with the credits that the request has cost all the same."""
    return CANCELLED_BUT_SHOWN.format(credits=credits_of(charged)) if charged else CANCELLED


def default_image_prompt(number: int) -> str:
    """Return what is asked about images that come without a word."""
    return DEFAULT_IMAGE_PROMPT if number == 1 else DEFAULT_IMAGES_PROMPT


def waiting(number: int) -> str:
    """Return what a user is told of whose prompts so many wait for the answer that is under way."""
    them = "One more message waits" if number == 1 else f"{number} more messages wait"
    return f"⏳ I am still at your earlier message. {them} for its answer; /cancel stops it all."


def dropped(number: int) -> str:
    """Return what became of prompts that waited when their user cancelled; "" where none did."""
    if not number:
        return ""
    return "One message that waited is dropped." if number == 1 else f"{number} messages that waited are dropped."


def failure(request: Request, *, charged: int = 0) -> str:
    """Return what happened to a request that ended without an answer, and what that costs: nothing, or `charged`."""
    if request.status == Request.Status.REJECTED:
        return NO_CREDITS
    if charged:
        return f"⚠️ {cancelled(charged)}"
    reason = FAILURES.get(request.error_code, OTHER_FAILURE)
    return f"⚠️ {reason}{COSTS_NOTHING if request.terms else _given_back(request.credits)}"


def not_shown(reason: str, refunded: int) -> str:
    """Return what takes the place of an answer that cannot be shown."""
    return NOT_SHOWN.get(reason, NOT_SHOWN_OTHERWISE) + _given_back(refunded)


def _given_back(credits: int) -> str:
    if not credits:
        return ""
    return f"\n\nYour {credits_of(credits)} {'is' if credits == 1 else 'are'} back."
