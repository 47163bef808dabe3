"""Whatever shape a body takes, reading it ends in an answer or in an error of ours."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.backends.base import Transcript
from providers.errors import ProviderError
from providers.registry import PROVIDERS, provider_class
from providers.types import Access, Category

TEXT_VENDORS = [slug for slug, vendor in PROVIDERS.items() if Category.TEXT in vendor.backends]
# The fields that any vendor's answer, stream or error has, with anything in them.
FIELDS = """choices message content delta refusal finish_reason usage meta model type text error code metadata
    reasons raw availability stop_reason stop_details explanation content_block input_tokens prompt_tokens
    completion_tokens completion_tokens_details reasoning_tokens prompt_tokens_details cached_tokens cost usd_spent"""
WORDS = st.sampled_from(["text", "stop", "error", "refusal", "message_start", "message_delta", "Lima"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=5),
    max_leaves=12,
)
bodies = st.dictionaries(st.sampled_from(FIELDS.split()), values, max_size=5)


@pytest.mark.parametrize("vendor", TEXT_VENDORS)
@given(body=bodies, others=st.lists(bodies, max_size=2))
def test_it_reads_any_shape(vendor: str, body: dict[str, Any], others: list[dict[str, Any]]) -> None:
    provider = provider_class(Category.TEXT, vendor)(Access("key", "https://example.com"))
    streamed = provider.parse_stream(iter([body, *others]), Transcript(None))
    for read in (body, streamed):
        provider.has_error(read)
        provider.parse_error(200, read)
        provider.parse_usage(read)
        with suppress(ProviderError):
            assert isinstance(provider.parse_text(read), str)
