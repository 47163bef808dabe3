"""PiAPI text generation. Source: https://piapi.ai/docs/llm-api/completions and the official CLI (read 2026-11)."""

from providers.errors import AccessDenied, ContentRefused, ModelGone, RateLimited
from providers.faults import Rule
from providers.openai_shape import OpenAIShapedText


class PiapiText(OpenAIShapedText):
    """The surface in OpenAI's shape; tasks have another path, header and envelope. The base URL has no version."""

    slug = "piapi"
    path = "/v1/chat/completions"
    stream_options = None  # the last chunk brings the usage unasked
    rules = (
        # Any status may carry these, a 200 with an envelope included; bodies may be plain text.
        Rule(RateLimited, text=r"concurren"),
        Rule(AccessDenied, text=r"\b(credits?|balance|quota|insufficient|points?)\b"),
        Rule(ContentRefused, statuses=(200, 400, 403, 500), text=r"\b(sensitive|nsfw|moderation|risk)\b"),
        Rule(ModelGone, statuses=(403,), text=r"\bplan\b"),  # "needs the Creator plan": this model is not for us
    )
