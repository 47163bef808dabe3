"""The vendors of texts that the sandbox stands in for: their facts, as their documents tell them (read 2026-11)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from providers.sandbox.billing import cost_of_tokens
from providers.sandbox.chat_answers import Answer, Question, Tokens
from providers.sandbox.formats.anthropic_messages import MessagesVendor
from providers.sandbox.formats.openai_chat import ChatVendor
from providers.sandbox.vendor_base import RETRY_AFTER_SECONDS, Call, Problem, TextVendor, Wording, new_id

RETRY_AFTER = {"Retry-After": str(RETRY_AFTER_SECONDS)}
CREDITS_PER_USD = 2_000_000  # AIMLAPI's own money
TICKS_PER_USD = 10_000_000_000  # xAI's


class Aimlapi(ChatVendor):
    """Success is a 201, and every answer names its price."""

    slug = "aimlapi"
    label = "AIMLAPI"
    status = 201
    models = (
        "deepseek/deepseek-v4-flash",
        "google/gemini-3-7-flash",
        "anthropic/claude-sonnet-5",
        "openai/gpt-5-nano",
        "openai/gpt-5.6-luna",
    )
    wordings = {
        Problem.NO_KEY: Wording(401, "", "Unauthorized: no API key was given"),
        Problem.WRONG_KEY: Wording(401, "", "Unauthorized: the API key {} is wrong or expired"),
        Problem.NO_SUCH_PATH: Wording(404, "", "Cannot {}"),
        Problem.UNKNOWN_MODEL: Wording(404, "", "Model {} not found"),
        Problem.INVALID: Wording(400, "", "Body validation error: {}"),
        Problem.UNSUPPORTED: Wording(400, "", "Body validation error: {} is not allowed"),
        Problem.RATE_LIMITED: Wording(429, "", "Too many requests. Slow down, or raise your plan's limits."),
        Problem.DOWN: Wording(503, "", "Service is temporarily unavailable"),
    }

    def account(self, tokens: Tokens) -> dict[str, Any]:
        cost = cost_of_tokens(self.slug, tokens)
        return {"meta": {"usage": {"credits_used": round(cost * CREDITS_PER_USD), "usd_spent": float(cost)}}}

    def account_headers(self, tokens: Tokens) -> Mapping[str, str]:
        cost = cost_of_tokens(self.slug, tokens)
        return {
            "x-aimlapi-usd-spent": f"{cost:f}",
            "x-aimlapi-credits-used": str(round(cost * CREDITS_PER_USD)),
        }

    def headers(self) -> Mapping[str, str]:
        return {"x-inference-id": new_id("inf_")}

    def catalogue(self) -> dict[str, Any]:
        entries = [
            {
                "id": model,
                "aliases": [],
                "type": "chat-completion",
                "info": {"name": model, "developer": model.partition("/")[0]},
                "tags": [],
            }
            for model in self.models
        ]
        return {"object": "list", "data": entries}

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        meta = {"meta": [{"path": [param], "message": message}]} if param else {}
        return {
            "message": message,
            "path": call.path,
            "requestId": new_id(""),
            "statusCode": wording.status,
            "timestamp": datetime.now(UTC).isoformat(),
            **meta,
        }

    def error_in_200(self, call: Call) -> dict[str, Any]:
        return {"error": super().error_in_200(call)}


class Piapi(ChatVendor):
    """OpenAI's shape for text; an error may also come in the envelope of its other surface."""

    slug = "piapi"
    label = "PiAPI"
    models = (
        "gpt-5",
        "gpt-5.2",
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4.1",
        "claude-opus-4-6",
        "claude-sonnet-4-6",
        "gemini-2.5-flash-nothinking",
    )
    sends_usage_unasked = True
    stream_prefix = "\n"  # its keep-alives are blank lines
    wordings = {
        Problem.NO_KEY: Wording(401, "invalid_request", "missing api key"),
        Problem.WRONG_KEY: Wording(401, "invalid_api_key", "invalid api key {}"),
        Problem.NO_SUCH_PATH: Wording(404, "not_found", "{}: page not found"),
        Problem.UNKNOWN_MODEL: Wording(404, "model_not_found", "the model {} does not exist"),
        Problem.INVALID: Wording(400, "invalid_request", "invalid parameters: {}"),
        Problem.UNSUPPORTED: Wording(400, "invalid_request", "invalid parameters: {} is not supported"),
        Problem.RATE_LIMITED: Wording(429, "rate_limit", "too many requests, please try again later"),
        Problem.DOWN: Wording(503, "unavailable", "the service is temporarily unavailable"),
    }

    def error_in_200(self, call: Call) -> dict[str, Any]:
        return {"code": 500, "message": self.wordings[Problem.DOWN].message, "data": None}


class OpenRouter(ChatVendor):
    """Keep-alive comments, the cost in the usage block, and errors inside a 200 once a model has started."""

    slug = "openrouter"
    label = "OpenRouter"
    chat_path = "/api/v1/chat/completions"
    models_path = "/api/v1/models"
    models = (
        "~anthropic/claude-haiku-latest",
        "~openai/gpt-latest",
        "~google/gemini-flash-latest",
        "openrouter/auto",
        "anthropic/claude-haiku-5.5",
        "openai/gpt-6-luna",
        "x-ai/grok-4.7",
    )
    roles = frozenset({"system", "developer", "user", "assistant"})
    attachment_parts = frozenset({"image_url", "input_audio"})
    sends_usage_unasked = True
    stream_prefix = ": OPENROUTER PROCESSING\n\n"
    wordings = {
        Problem.NO_KEY: Wording(401, "authentication", "No auth credentials found"),
        Problem.WRONG_KEY: Wording(401, "authentication", "User not found."),
        Problem.NO_SUCH_PATH: Wording(404, "not_found", "{}: Not Found"),
        Problem.UNKNOWN_MODEL: Wording(404, "not_found", "No endpoints found for {}."),
        Problem.INVALID: Wording(400, "invalid_request", "{}"),
        Problem.UNSUPPORTED: Wording(400, "invalid_request", "{} is not supported"),
        Problem.RATE_LIMITED: Wording(429, "rate_limit_exceeded", "Rate limit exceeded", RETRY_AFTER),
        Problem.DOWN: Wording(503, "provider_overloaded", "No instances available", RETRY_AFTER),
    }

    def head(self, question: Question, kind: str) -> dict[str, Any]:
        # An alias moves; the answer names the model that it stands for today.
        model = {"~anthropic/claude-haiku-latest": "anthropic/claude-haiku-5.5"}.get(question.model, question.model)
        return {
            **super().head(question, kind),
            "id": new_id("gen-"),
            "model": model,
            "provider": "Sandbox",
            "system_fingerprint": "sandbox",
        }

    def whole(self, question: Question, answer: Answer) -> Any:
        reply = super().whole(question, answer)
        reply.body["choices"][0]["native_finish_reason"] = self.finish_reason(answer)
        return reply

    def usage(self, tokens: Tokens) -> dict[str, Any]:
        cost = float(cost_of_tokens(self.slug, tokens))
        return {
            **super().usage(tokens),
            "prompt_tokens_details": {"cached_tokens": tokens.cached_input},
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "cost": cost,
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": None,
                "upstream_inference_prompt_cost": 0,
                "upstream_inference_completions_cost": cost,
            },
        }

    def headers(self) -> Mapping[str, str]:
        return {"X-Generation-Id": new_id("gen-")}

    def catalogue(self) -> dict[str, Any]:
        entries = [openrouter_model(model, "text") for model in self.models]
        return {"data": entries, "total_count": len(entries), "links": {"next": None}}

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        return {"error": {"code": wording.status, "message": message, "metadata": {"error_type": wording.code}}}

    def error_in_200(self, call: Call) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
        return {**super().error_in_200(call), "choices": [choice]}


class OpenAI(ChatVendor):
    """GPT-6: no sampling fields, and a limit that includes what is reasoned."""

    slug = "openai"
    label = "OpenAI"
    models = ("gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol", "gpt-6-astra")
    roles = frozenset({"system", "developer", "user", "assistant"})
    attachment_parts = frozenset({"image_url"})
    unsupported = frozenset({"max_tokens", "temperature", "top_p", "logprobs", "top_logprobs"})
    caches_input = True
    reasoning_tokens = 8
    wordings = {
        Problem.NO_KEY: Wording(
            401,
            "",
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY).",
        ),
        Problem.WRONG_KEY: Wording(
            401,
            "invalid_api_key",
            "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com/account/api-keys.",
        ),
        Problem.NO_SUCH_PATH: Wording(404, "", "Invalid URL ({})"),
        Problem.UNKNOWN_MODEL: Wording(
            404, "model_not_found", "The model `{}` does not exist or you do not have access to it."
        ),
        Problem.INVALID: Wording(400, "", "{}"),
        Problem.UNSUPPORTED: Wording(
            400, "unsupported_parameter", "Unsupported parameter: '{}' is not supported with this model."
        ),
        Problem.RATE_LIMITED: Wording(429, "rate_limit_exceeded", "Rate limit reached for requests.", RETRY_AFTER),
        Problem.DOWN: Wording(503, "server_is_overloaded", "The server is currently overloaded. Please try again."),
    }

    def usage(self, tokens: Tokens) -> dict[str, Any]:
        return {
            **super().usage(tokens),
            "prompt_tokens_details": {"cached_tokens": tokens.cached_input, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": tokens.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def headers(self) -> Mapping[str, str]:
        return {
            "x-request-id": new_id("req_"),
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "6ms",
        }


class Anthropic(MessagesVendor):
    """Its overload has a status of its own, 529."""

    slug = "anthropic"
    label = "Anthropic"
    models = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-2", "claude-haiku-4-5")
    reasoning_tokens = 8
    wordings = {
        Problem.NO_KEY: Wording(401, "authentication_error", "x-api-key header is required"),
        Problem.WRONG_KEY: Wording(401, "authentication_error", "invalid x-api-key"),
        Problem.NO_SUCH_PATH: Wording(404, "not_found_error", "Not found: {}"),
        Problem.UNKNOWN_MODEL: Wording(404, "not_found_error", "model: {}"),
        Problem.INVALID: Wording(400, "invalid_request_error", "{}"),
        Problem.UNSUPPORTED: Wording(400, "invalid_request_error", "`{}` is not supported for this model."),
        Problem.RATE_LIMITED: Wording(
            429, "rate_limit_error", "This request would exceed your organization's rate limit.", RETRY_AFTER
        ),
        Problem.DOWN: Wording(529, "overloaded_error", "Overloaded"),
    }


class Xai(ChatVendor):
    """Flat errors, a 400 for a wrong key, and the exact charge in ticks."""

    slug = "xai"
    label = "xAI"
    models = ("grok-4.7", "grok-4.3", "grok-4.20-non-reasoning")
    attachment_parts = frozenset({"image_url"})
    unsupported = frozenset({"stop", "presence_penalty", "frequency_penalty"})
    caches_input = True
    reasoning_tokens = 24
    wordings = {
        Problem.NO_KEY: Wording(
            401, "The request does not have valid authentication credentials", "No credentials were provided."
        ),
        Problem.WRONG_KEY: Wording(
            400,
            "Client specified an invalid argument",
            "Incorrect API key provided: {}. You can obtain an API key from https://console.x.ai.",
        ),
        Problem.NO_SUCH_PATH: Wording(404, "Some requested entity was not found", "{}: not found"),
        Problem.UNKNOWN_MODEL: Wording(
            404,
            "Some requested entity was not found",
            "The model {} does not exist or your team does not have access to it.",
        ),
        Problem.INVALID: Wording(
            422,
            "Client specified an invalid argument",
            "Failed to deserialize the JSON body into the target type: {}",
        ),
        Problem.UNSUPPORTED: Wording(
            400, "Client specified an invalid argument", "Argument not supported on this model: {}"
        ),
        Problem.RATE_LIMITED: Wording(429, "Some resource has been exhausted", "Too many requests for your team."),
        Problem.DOWN: Wording(
            503, "The service is currently unavailable", "The model is at capacity. Please try again later."
        ),
    }

    def usage(self, tokens: Tokens) -> dict[str, Any]:
        return {
            **super().usage(tokens),
            # Unlike OpenAI's: without what was reasoned.
            "completion_tokens": tokens.output,
            "prompt_tokens_details": {
                "text_tokens": tokens.input + tokens.cached_input,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": tokens.cached_input,
            },
            "completion_tokens_details": {
                "reasoning_tokens": tokens.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "num_sources_used": 0,
            "cost_in_usd_ticks": int(cost_of_tokens(self.slug, tokens) * TICKS_PER_USD),
        }

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        return {"code": wording.code, "error": message}


class Groq(ChatVendor):
    """OpenAI's shape on chips of its own, with the time that they took.

    Source: https://console.groq.com/docs/openai, https://console.groq.com/docs/errors (read 2026-11).
    """

    slug = "groq"
    label = "Groq"
    chat_path = "/openai/v1/chat/completions"
    models_path = "/openai/v1/models"
    models = ("openai/gpt-oss-20b", "openai/gpt-oss-120b", "qwen/qwen3-32b")
    roles = frozenset({"system", "developer", "user", "assistant"})
    unsupported = frozenset({"logprobs", "top_logprobs", "logit_bias"})
    caches_input = True
    reasoning_tokens = 8
    wordings = {
        Problem.NO_KEY: Wording(401, "invalid_api_key", "Invalid API Key"),
        Problem.WRONG_KEY: Wording(401, "invalid_api_key", "Invalid API Key"),
        Problem.NO_SUCH_PATH: Wording(
            404, "unknown_url", "Unknown request URL: {}. Please check the URL for typos, or see the docs."
        ),
        Problem.UNKNOWN_MODEL: Wording(
            404, "model_not_found", "The model `{}` does not exist or you do not have access to it."
        ),
        Problem.INVALID: Wording(400, "", "{}"),
        Problem.UNSUPPORTED: Wording(400, "", "property '{}' is unsupported"),
        Problem.RATE_LIMITED: Wording(
            429, "rate_limit_exceeded", f"Rate limit reached. Please try again in {RETRY_AFTER_SECONDS}s.", RETRY_AFTER
        ),
        Problem.DOWN: Wording(503, "", "The model is currently over capacity. Please try again and back off."),
    }

    def head(self, question: Question, kind: str) -> dict[str, Any]:
        return {
            **super().head(question, kind),
            "system_fingerprint": "fp_sandbox",
            "service_tier": "default",
            "x_groq": {"id": new_id("req_")},
        }

    def usage(self, tokens: Tokens) -> dict[str, Any]:
        return {
            **super().usage(tokens),
            "prompt_tokens_details": {"cached_tokens": tokens.cached_input},
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
            **dict.fromkeys(("queue_time", "prompt_time", "completion_time", "total_time"), 0.01),
        }


TEXT_VENDORS: Mapping[str, TextVendor] = {
    vendor.slug: vendor for vendor in (Aimlapi(), Piapi(), OpenRouter(), OpenAI(), Anthropic(), Xai(), Groq())
}


def openrouter_model(slug: str, output: str) -> dict[str, Any]:
    """Return the model as OpenRouter lists it."""
    return {
        "id": slug,
        "canonical_slug": slug.removeprefix("~"),
        "name": slug,
        "created": 1767225600,
        "context_length": 200_000,
        "architecture": {
            "input_modalities": ["text", "image"],
            "output_modalities": [output],
            "modality": f"text->{output}",
        },
        "default_parameters": None,
        "links": {"details": f"/api/v1/models/{slug}/endpoints"},
        "per_request_limits": None,
        "pricing": {"prompt": "0.000002", "completion": "0.000002"},
        "supported_parameters": ["max_tokens", "reasoning"],
        "supported_voices": None,
        "top_provider": {"is_moderated": False, "context_length": 200_000, "max_completion_tokens": 128_000},
    }
