"""Redaction: excerpts of what a provider said contain nothing of the key and nothing of the prompt."""

import html
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.transport.redaction import HIDDEN, MAX_EXCERPT_CHARACTERS, Redactor
from providers.types import Category, Prompt, Turn

KEY = "sk-proj-4711-abcdefghij"


def redactor(text: str = "", **fields: object) -> Redactor:
    return Redactor(KEY, Prompt(Category.TEXT, text, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "excerpt"),
    [
        ("All is well.", "All is well."),
        ("  on \n several\tlines\x00 ", "on several lines"),
        (f"Wrong key {KEY}!", f"Wrong key {HIDDEN}!"),
        (f"Wrong key {KEY[:8]}…", f"Wrong key {HIDDEN}…"),
        (f"Wrong key …{KEY[-9:]}", f"Wrong key …{HIDDEN}"),
        ("Wrong key sk-p***ghij.", f"Wrong key {HIDDEN}"),
        ("<html><head><title>502 Bad Gateway</title></head><body>cloud</body></html>", "502 Bad Gateway"),
        ("<p>Sorry, <b>no</b></p>", "Sorry, no"),
        ("half \ud83d an emoji", "half \N{REPLACEMENT CHARACTER} an emoji"),
    ],
)
def test_an_excerpt_is_one_line_without_the_key(message: str, excerpt: str) -> None:
    assert redactor().excerpt(message) == excerpt


def test_a_key_of_a_few_characters_is_hidden_too() -> None:
    short = Redactor("k-123", Prompt(Category.TEXT, ""))
    assert short.excerpt("Wrong key k-123, not k-124!") == f"Wrong key {HIDDEN}, not k-124!"


def test_a_long_message_is_cut_short() -> None:
    excerpt = redactor().excerpt("word " * 5000)
    assert len(excerpt) == MAX_EXCERPT_CHARACTERS
    assert excerpt.endswith("…")


def test_a_part_of_a_prompt_is_hidden_and_a_common_word_is_not() -> None:
    message = "Cannot answer: …you tell me what the capital of Peru is, please. Which capital?"
    excerpt = redactor("Could you tell me what the capital of Peru is").excerpt(message)
    assert excerpt == f"Cannot answer: …{HIDDEN}, please. Which capital?"


@pytest.mark.parametrize(
    ("prompt", "message", "excerpt"),
    [
        ("PIN 4711", "Bad input 'PIN 4711'.", f"Bad input '{HIDDEN}'."),
        ("hi", "This is hi for hi", f"This is {HIDDEN} for {HIDDEN}"),
        ("🐤", "Bad input 🐤!", f"Bad input {HIDDEN}!"),
        (" да\n", "да?", f"{HIDDEN}?"),
    ],
)
def test_a_short_prompt_is_hidden_as_a_whole(prompt: str, message: str, excerpt: str) -> None:
    assert redactor(prompt).excerpt(message) == excerpt


def test_the_system_prompt_and_the_history_are_hidden_too() -> None:
    system, reply = "You are a pirate and say arr.", "Arr, what a fine day it is!"
    excerpt = redactor("x", system=system, history=(Turn("assistant", reply),)).excerpt(f"1 {system} 2 {reply} 3")
    assert excerpt == f"1 {HIDDEN} 2 {HIDDEN} 3"


ESCAPINGS = [
    str,
    json.dumps,
    lambda text: json.dumps(json.dumps(text)),
    lambda text: json.dumps(text, ensure_ascii=False),
    repr,
    html.escape,
]


@given(
    prompt=st.text(st.characters(exclude_categories=["Cs"]), min_size=16, max_size=60),
    before=st.text(max_size=40),
    escape=st.sampled_from(ESCAPINGS),
)
@example(prompt='Мой пароль: "пять\nмаленьких утят"', before="", escape=ESCAPINGS[2])
@example(prompt="C:\\new\\table is <b>&amp; more", before="x", escape=ESCAPINGS[1])
def test_no_run_of_the_prompt_survives_any_escaping(prompt: str, before: str, escape: object) -> None:
    excerpt = redactor(prompt).excerpt(f"{before} {escape(prompt)}")  # type: ignore[operator]
    for start in range(len(prompt) - 15):
        assert prompt[start : start + 16] not in excerpt


@given(st.text(max_size=300), st.integers(0, 300))
def test_no_part_of_the_key_survives(around: str, place: int) -> None:
    message = f"{around[:place]}{KEY}{around[place:]}"
    excerpt = redactor("some prompt").excerpt(message)
    assert not any(KEY[start : start + 8] in excerpt for start in range(len(KEY) - 7))


@pytest.mark.parametrize("escape", ESCAPINGS)
@pytest.mark.parametrize(
    "prompt", ['Мой пароль: "пять\nмаленьких утят"', "C:\\new\\table & <b>more</b>, she's", "🐤🐤 canary birds 🐤🐤"]
)
def test_an_escaped_prompt_is_hidden_too(prompt: str, escape: Callable[[str], str]) -> None:
    excerpt = redactor(prompt).excerpt(f"Bad input: {escape(prompt)}")
    assert excerpt.startswith("Bad input: ")
    assert HIDDEN in excerpt
    assert len(excerpt) < len("Bad input: ''") + len(HIDDEN) + 4


def test_a_hostile_message_costs_little() -> None:
    message = ("<title" * 500 + "*" * 1000 + "\\u0041" * 1000 + "&amp" * 1000) * 200
    prompt = "<title" * 5000
    started = time.process_time()
    assert len(redactor(prompt).excerpt(message)) <= MAX_EXCERPT_CHARACTERS
    assert time.process_time() - started < 5  # milliseconds, unless some pattern goes over the text again and again
