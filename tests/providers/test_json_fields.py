"""Foreign JSON: whatever it holds, reading it is safe."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.transport.json_fields import (
    count_at,
    decode_object,
    get_path,
    json_safe,
    list_at,
    money_at,
    number_at,
    text_at,
    valid_unicode,
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(anything, st.lists(st.sampled_from(["a", "b", 0, 1, -1]), max_size=4))
def test_no_shape_raises(value: Any, path: list[str | int]) -> None:
    get_path(value, *path)
    assert isinstance(text_at(value, *path), str)
    assert isinstance(list_at(value, *path), list)
    count, money = count_at(value, *path), money_at(value, *path)
    assert count is None or count >= 0
    assert money is None or money >= 0
    stored = json_safe(value)
    assert json.loads(json.dumps(stored).encode()) == stored
    assert "\\u0000" not in json.dumps(stored)


def test_it_follows_a_path() -> None:
    body = {"choices": [{"message": {"content": "x", "n": 3}}], "list": [1]}
    assert text_at(body, "choices", 0, "message", "content") == "x"
    assert count_at(body, "choices", -1, "message", "n") == 3
    assert get_path(body, "choices", 1) is None
    assert get_path(body, "choices", "message") is None
    assert list_at(body, "list") == [1]


@pytest.mark.parametrize(
    ("spelled", "count"),
    [("7", 7), ("7.0", 7), ("7e2", 700), ('"7"', 7), ("7.5", None), ("-1.0", None), ("1e999999999", None)],
)
def test_a_count_is_a_whole_number_of_a_plausible_size(spelled: str, count: int | None) -> None:
    assert count_at(decode_object(f'{{"n": {spelled}}}'), "n") == count


def test_money_is_read_from_its_digits() -> None:
    body = decode_object('{"a": 0.1000000000000000055, "b": "0.0012", "c": 6730000, "d": 1e-7}')
    assert money_at(body, "a") == Decimal("0.1000000000000000055")
    assert money_at(body, "b") == Decimal("0.0012")
    assert money_at(body, "c", unit=Decimal("1e-10")) == Decimal("0.000673")
    assert money_at(body, "d") == Decimal("0.0000001")


@pytest.mark.parametrize("amount", [-1, True, None, "", "NaN", "Infinity", "12 USD", 10**9, Decimal("1e999999"), [1]])
def test_an_invalid_amount_is_unknown(amount: Any) -> None:
    assert money_at({"cost": amount}, "cost") is None


@pytest.mark.parametrize("count", [-1, True, None, "-5", "5.5", "", "９", Decimal("5.5"), 10**12, "9" * 5000])
def test_an_invalid_count_is_unknown(count: Any) -> None:
    assert count_at({"tokens": count}, "tokens") is None


@pytest.mark.parametrize("count", [5, "5", Decimal("5.0")])
def test_a_count_may_be_written_as_a_string_or_a_fraction(count: Any) -> None:
    assert count_at({"tokens": count}, "tokens") == 5


def test_what_is_no_number_is_nothing() -> None:
    assert decode_object('{"a": NaN, "b": -Infinity}') == {"a": None, "b": None}


@pytest.mark.parametrize("inside", ["1", '"' + "[" * 1000 + '"', '"\\"' + "{" * 1000 + '"'])
def test_brackets_within_a_string_do_not_nest(inside: str) -> None:
    assert "a" in decode_object(f'{{"a": {"[" * 500}{inside}{"]" * 500}, "b": [{",".join(["[]"] * 2000)}]}}')


@pytest.mark.parametrize(
    "text",
    ['{"a": ' + "[" * 600 + "]" * 600 + "}", '{"a":' * 601 + "1" + "}" * 601, "[" * 601 + '"' + '\\"' * 10**6],
    ids=["lists", "objects", "a string without an end"],
)
def test_a_text_nested_too_deeply_never_reaches_the_parser(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.transport.json_fields._decoder", None)
    with pytest.raises(ValueError, match="not ValueError"):
        decode_object(text)


@pytest.mark.parametrize("text", ["", "[]", "null", "1", '"x"', "{", "[" * 100_000, "1" * 5000, "<html>"])
def test_what_is_no_object_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        decode_object(text)
    assert caught.value.__context__ is None
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("plain", "plain"),
        ("🐤", "🐤"),
        ("\ud83d\udc24", "🐤"),
        ("a\ud83d", "a\N{REPLACEMENT CHARACTER}"),
        ("\udc24b", "\N{REPLACEMENT CHARACTER}b"),
        ("nul\0nul", "nulnul"),
    ],
)
def test_halves_are_joined_or_replaced(text: str, whole: str) -> None:
    assert valid_unicode(text) == whole


def test_what_is_nested_too_deeply_is_dropped() -> None:
    deep: Any = "bottom"
    for _ in range(500):
        deep = {"a": deep}
    assert "bottom" not in json.dumps(json_safe(deep))


def test_a_cost_in_ticks_may_have_more_of_them_than_any_quantity():
    assert money_at({"ticks": 50_000_000_000}, "ticks", unit=Decimal("1e-10")) == 5
    assert number_at({"credits": "1e30"}, "credits") is None
    assert number_at({"credits": "17"}, "credits") == 17
