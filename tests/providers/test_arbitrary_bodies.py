"""Whatever shape a body has, reading it ends in a result or in a ProviderError."""

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.backends.base import TextProvider, Transcript
from providers.backends.error_mapping import ErrorReply
from providers.backends.media_generation import JobProvider
from providers.errors import ProviderError
from providers.registry import PROVIDERS, provider_class
from providers.types import Access, Job, MediaResult, Prompt

# The fields of any provider's answers, streams and errors.
TEXT_FIELDS = """choices message content delta refusal finish_reason usage meta model type text error code metadata
    reasons raw availability stop_reason stop_details explanation content_block input_tokens prompt_tokens
    completion_tokens completion_tokens_details reasoning_tokens prompt_tokens_details cached_tokens cost usd_spent
    object aliases id data"""
MEDIA_FIELDS = """b64_json url output video audio audio_file status id error message name code msg detail usage meta
    usd_spent credits_used cost taskUUID taskId task_id state failCode failMsg resultJson resultUrls errors imageURL
    videoURL image_url image_urls video_url works metrics model owner results next block_reason data"""
MODELS = ("a-model", "a-music-model")  # one provider answers differently for music
VALUES = ["text", "stop", "error", "refusal", "message_start", "message_delta", "Lima", "fail", "success", "succeeded",
          "completed", "failed", "job-1", "https://example.com/x.png", '{"resultUrls": 7}']  # fmt: skip


def bodies_of(fields: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return bodies with some of these fields and anything in them."""
    names = st.sampled_from(fields.split())
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.sampled_from(VALUES),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=5),
        max_leaves=12,
    )
    return st.dictionaries(names, values, max_size=5)


ACCESS = Access("key", "https://example.com")
PROVIDERS_BY_CATEGORY = [
    (category, provider_class(category, slug)(ACCESS)) for slug, spec in PROVIDERS.items() for category in spec.backends
]
TEXT_PROVIDERS = [provider for _, provider in PROVIDERS_BY_CATEGORY if isinstance(provider, TextProvider)]
MEDIA_PROVIDERS = [pair for pair in PROVIDERS_BY_CATEGORY if not isinstance(pair[1], TextProvider)]


@settings(max_examples=200, deadline=None)
@given(body=bodies_of(TEXT_FIELDS), others=st.lists(bodies_of(TEXT_FIELDS), max_size=2))
def test_every_text_provider_reads_any_body(body: dict[str, Any], others: list[dict[str, Any]]) -> None:
    for provider in TEXT_PROVIDERS:
        streamed = provider.parse_stream(iter([body, *others]), Transcript(None))
        for read in (body, streamed):
            assert isinstance(provider.has_error(read), bool)
            assert isinstance(provider.parse_error(200, read), ErrorReply)
            provider.parse_usage(read)
            provider.parse_models(read)
            with suppress(ProviderError):
                assert isinstance(provider.parse_text(read), str)


@settings(max_examples=200, deadline=None)
@given(body=bodies_of(MEDIA_FIELDS))
def test_every_media_provider_reads_any_body(body: dict[str, Any]) -> None:
    for category, provider in MEDIA_PROVIDERS:
        assert isinstance(provider.has_error(body), bool)
        assert isinstance(provider.parse_error(200, body), ErrorReply)
        provider.parse_models(body)
        for model in MODELS:
            prompt = Prompt(category, "A quiet lake", model=model)
            with suppress(ProviderError):
                assert isinstance(provider.parse_result(prompt, body), MediaResult | Job)
            if isinstance(provider, JobProvider):
                with suppress(ProviderError):
                    assert isinstance(provider.parse_job(prompt, body), MediaResult | Job)
