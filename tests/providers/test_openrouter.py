"""OpenRouter: the request, the usage and the error table."""

import time
from decimal import Decimal
from typing import Any

import pytest

from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.transport.deadlines import Deadline
from providers.types import Attachment, Usage
from tests.contracts.openapi import contract_of
from tests.contracts.text import MESSAGES, TEXT, TextProviderContract, event_bytes
from tests.fakes.http_server import FakeServer, answer, drip_for_ever, head, stream


class TestOpenRouter(TextProviderContract):
    slug = "openrouter"
    model = "~anthropic/claude-haiku-latest"
    path = "/api/v1/chat/completions"
    openapi_path = "/chat/completions"
    body = {
        "model": "~anthropic/claude-haiku-latest",
        "messages": MESSAGES,
        "max_completion_tokens": 900,
        "reasoning": {"effort": "low"},
    }
    stream_fields = {"stream": True}
    usage = Usage(
        input_tokens=60, cached_input_tokens=4, output_tokens=21, reported_cost=Decimal("0.0000169")
    )  # 64 prompt tokens, 4 of them cached

    # Rows of the provider's table: code, metadata.error_type, other parts of the error.
    table = [
        (400, "invalid_request", {}, RequestRejected),
        (400, "invalid_prompt", {}, RequestRejected),
        (400, "context_length_exceeded", {}, RequestRejected),
        (400, "invalid_image", {}, RequestRejected),
        (400, "content_policy_violation", {}, ContentRefused),
        (400, "refusal", {}, ContentRefused),
        (401, "authentication", {}, AccessDenied),
        (402, "payment_required", {"limit_source": "openrouter_key_limit"}, AccessDenied),
        (403, "permission_denied", {"reasons": ["violence"], "flagged_input": "…"}, ContentRefused),
        (403, "permission_denied", {"patterns": ["secret"]}, ContentRefused),
        (403, "permission_denied", {}, AccessDenied),
        (404, "not_found", {}, ModelGone),
        (408, "timeout", {}, OutcomeUnknown),
        (504, "timeout", {}, OutcomeUnknown),
        (524, "timeout", {}, OutcomeUnknown),
        (413, "payload_too_large", {}, RequestRejected),
        (422, "unprocessable", {}, RequestRejected),
        (429, "rate_limit_exceeded", {}, RateLimited),
        (500, "server", {}, OutcomeUnknown),
        (502, "provider_unavailable", {}, OutcomeUnknown),
        (503, "provider_unavailable", {}, ServerFault),
        (529, "provider_overloaded", {}, ServerFault),
    ]

    @staticmethod
    def error(code: int, error_type: str, metadata: dict[str, Any]) -> dict[str, Any]:
        details = {"code": code, "message": "Details.", "metadata": {"error_type": error_type, **metadata}}
        return {"error": details, "user_id": "user_1"}

    @pytest.mark.parametrize(("status", "error_type", "metadata", "expected"), table)
    def test_error_table(
        self,
        server: FakeServer,
        status: int,
        error_type: str,
        metadata: dict[str, Any],
        expected: type[ProviderError],
    ) -> None:
        body = self.error(status, error_type, metadata)
        assert self.assert_means(server, status, body, expected).excerpt == "Details."
        # Once the model has started, the same errors come inside a 200: alone, in a choice, or in a stream.
        in_choice = {"id": "gen-1", "choices": [{**body, "message": {"content": ""}, "finish_reason": "error"}]}
        in_stream = stream([b": OPENROUTER PROCESSING\n\n", event_bytes(body)])
        for step in (answer(body), answer(in_choice), in_stream):
            error = self.failure(server, step, on_text=len)
            assert (type(error), error.status) == (expected, 200)

    @pytest.mark.parametrize(
        ("status", "availability", "expected"),
        [
            (404, "model_deprecated", ModelGone),
            (404, "no_endpoints", ModelGone),
            (404, "privacy_restricted", ModelGone),
            (404, "free_variant_ended", ModelGone),
            (429, "capacity_exhausted", RateLimited),
            (502, "temporarily_unavailable", ServerFault),
        ],
    )
    def test_availability_tells_what_a_status_cannot(
        self, server: FakeServer, status: int, availability: str, expected: type[ProviderError]
    ) -> None:
        body = {"error": {"code": status, "message": "Details.", "availability": {"code": availability}}}
        assert self.assert_means(server, status, body, expected).code == availability

    def test_the_upstreams_message_is_part_of_the_excerpt(self, server: FakeServer) -> None:
        metadata = {"raw": '{"error":{"message":"Input is too long."}}', "provider_name": "Anthropic"}
        body = {"error": {"code": 400, "message": "Provider returned error", "metadata": metadata}}
        error = self.assert_means(server, 400, body, RequestRejected)
        assert "Provider returned error" in error.excerpt
        assert "Input is too long." in error.excerpt

    def test_half_an_answer_with_the_finish_reason_error_is_no_answer(self, server: FakeServer) -> None:
        body = self.sample("answer")
        body["choices"][0]["finish_reason"] = "error"
        assert type(self.failure(server, answer(body))) is OutcomeUnknown

    def test_a_voice_message_is_sent_before_the_text(self) -> None:
        body = self.body_of(attachments=(Attachment("audio/ogg", b"OggS"),))
        content = body["messages"][-1]["content"]
        assert content[0] == {"type": "input_audio", "input_audio": {"data": "T2dnUw==", "format": "ogg"}}
        assert content[1]["text"] == TEXT

    def test_a_request_with_audio_keeps_the_openapi_document(self) -> None:
        body = self.body_of(attachments=(Attachment("audio/ogg", b"OggS"),))
        assert contract_of("openrouter").request_errors("POST", self.openapi_path, body) == []

    def documented_chunks(self) -> list[Any]:
        return [{"data": chunk} for chunk in super().documented_chunks()]  # the schema is that of the event around it

    def test_keep_alives_reset_the_idle_timeout_and_not_the_deadline(self, server: FakeServer) -> None:
        start = head(Content_Type="text/event-stream", Connection="close")
        server.will(drip_for_ever(start, b": OPENROUTER PROCESSING\n\n", 0.05))
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            self.provider(server).run(self.prompt(), timeout_seconds=0.4, deadline=Deadline.after(1.5), on_text=len)
        assert 1.4 < time.monotonic() - started < 30
