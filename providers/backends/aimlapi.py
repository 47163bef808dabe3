"""AIMLAPI text generation. Source: https://docs.aimlapi.com/api-references/text-models-llm (read 2026-11)."""

from collections.abc import Mapping
from typing import Any

from providers.bodies import storable
from providers.errors import ContentRefused, ModelGone, RequestRejected, ServerFault
from providers.faults import Rule
from providers.openai_shape import OpenAIShapedText
from providers.types import Prompt


class AimlapiText(OpenAIShapedText):
    """Chat completions of many makers. Success is a 201. The base URL has no version."""

    slug = "aimlapi"
    path = "/v1/chat/completions"
    cost_path = ("meta", "usage", "usd_spent")  # about 30 % above the makers' list prices (2026-11)
    code_paths = (("code",), ("type",), ("statusCode",))
    models_path = "/v1/models"  # a model answers to its aliases too
    rules = (
        # A 500 may wrap what an upstream has refused, so there the text decides (github.com/aimlapi/api-docs, issue 3).
        Rule(
            ContentRefused,
            statuses=(400, 403, 500),
            text=r"content.policy|safety (system|filter|polic|check)|flagged|moderation|inappropriate|nsfw",
        ),
        Rule(ServerFault, statuses=(500,), text="maintenance"),
        Rule(
            ModelGone,
            statuses=(400, 500),
            text=r"\bmodel\b.{0,100}(not found|not exist|not available|unknown|deprecated|retired)|unknown model",
        ),
        Rule(RequestRejected, statuses=(500,), text=r"\b400\b|bad request"),
    )

    # Of the models read in 2026-11 these take the field; others answer unknown values with a 400.
    models_with_effort = ("openai/gpt-5", "deepseek/deepseek-v4", "google/gemini-3")

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        return {"reasoning_effort": "low"} if prompt.model.startswith(self.models_with_effort) else {}

    def read_raw_usage(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        raw = super().read_raw_usage(body)
        return {**raw, "meta": storable(body["meta"])} if body.get("meta") else raw
