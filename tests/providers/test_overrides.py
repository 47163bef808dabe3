"""What an operator writes into a route changes its calls, and cannot change what is the chain's or the key's."""

import re

import pytest
from django.core.exceptions import ValidationError

from providers import route_fields
from providers.backends.overrides import with_overrides
from providers.types import Call, Overrides

BODY = {"model": "m", "input": {"prompt": "A cat", "seed": 1}, "n": 1}


def changed(body, **overrides):
    return with_overrides(Call("/x", json=body), Overrides(**overrides)).json


def test_fields_are_merged_replaced_and_left_out():
    assert changed(BODY) == BODY
    assert changed(BODY, extra_body={"n": 2, "input": {"go_fast": True}}, drop_fields=("input.seed", "input.none")) == {
        "model": "m",
        "input": {"prompt": "A cat", "go_fast": True},
        "n": 2,
    }
    assert changed(BODY, drop_fields=("n", "n.x", "missing.x")) == {"model": "m", "input": BODY["input"]}
    assert BODY["input"] == {"prompt": "A cat", "seed": 1}  # it is nobody else's


def test_a_body_that_is_a_list_is_changed_in_each_object():
    assert changed([{"a": 1}, {"a": 2}], extra_body={"b": 3}, drop_fields=("a",)) == [{"b": 3}, {"b": 3}]


def test_a_header_replaces_ours_whatever_its_letters():
    call = Call("/x", headers={"anthropic-version": "1", "X-Ours": "kept"})

    headers = with_overrides(call, Overrides(extra_headers={"Anthropic-Version": "2"})).headers

    assert headers == {"X-Ours": "kept", "Anthropic-Version": "2"}


@pytest.mark.parametrize(
    ("validate", "value", "words"),
    [
        (route_fields.validate_tags, "music", 'a list of short names, such as ["music"]'),
        (route_fields.validate_tags, ["Music!"], "a list of short names"),
        (route_fields.validate_tag, "Music AI", "a short name such as music"),
        (route_fields.validate_extra_body, [], "must be a JSON object"),
        (route_fields.validate_extra_body, {"model": "x", "stream": False}, "model, stream cannot be set here"),
        (route_fields.validate_drop_fields, "n", "must be a list of names"),
        (route_fields.validate_drop_fields, ["a b"], "must be a list of names"),
        (route_fields.validate_drop_fields, ["messages"], "messages cannot be left out"),
        (route_fields.validate_extra_headers, [], "must be a JSON object"),
        (route_fields.validate_extra_headers, {"Authorization": "Bearer x"}, "Keys come from the environment only"),
        (route_fields.validate_extra_headers, {"x-API-key": "x"}, "Keys come from the environment only"),
        (route_fields.validate_extra_headers, {"X-A\r\nB": "x"}, "cannot be set here"),
        (route_fields.validate_extra_headers, {"X-A": "a\r\nB: c"}, "must be a text of plain ASCII"),
        (route_fields.validate_extra_headers, {"X-A": 1}, "must be a text of plain ASCII"),
        (route_fields.validate_effort, "much", "Use one of none, minimal"),
    ],
)
def test_what_cannot_be_sent_is_refused_where_it_is_typed(validate, value, words):
    with pytest.raises(ValidationError, match=re.escape(words)):
        validate(value)


@pytest.mark.parametrize(
    ("validate", "value"),
    [
        (route_fields.validate_tags, []),
        (route_fields.validate_tags, ["music", "fast-2"]),
        (route_fields.validate_extra_body, {"temperature": 0.7, "input": {"prompt_strength": 1}}),
        (route_fields.validate_drop_fields, ["reasoning_effort", "input.seed", "stream"]),
        (route_fields.validate_extra_headers, {"X-Title": "My bot", "HTTP-Referer": "https://example.com"}),
        (route_fields.validate_effort, "high"),
    ],
)
def test_what_can_be_sent_is_taken(validate, value):
    validate(value)
