"""Thoughts in the answer are not for the user, however they are cut; tags in the middle of an answer are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.backends.thoughts import Thoughts, without_thoughts

ANSWER = "Lima is <b>here</b>."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (ANSWER, ANSWER),
        (f"<think>\nHm.\n</think>\n\n{ANSWER}", ANSWER),
        (f"\n <thinking>Hm.</thinking>{ANSWER}", ANSWER),
        (f"<think>One.</think>\n<think>Two.</think>\n{ANSWER}", ANSWER),
        (f"<think></think>{ANSWER}", ANSWER),
        (f"Hm.\n</think>\n\n{ANSWER}", ANSWER),  # the server has kept the start
        ("<think>It never ends", ""),
        ("<think>", ""),
        ("<thi", "<thi"),
        ("<thinner>", "<thinner>"),
        ("Write <think>x</think> like this.", "Write <think>x</think> like this."),
        ("", ""),
        ("  \n", "  \n"),
    ],
)
def test_only_the_answer_is_left(text, shown):
    assert without_thoughts(text) == shown


@given(cuts=st.lists(st.integers(0, 60), max_size=8))
@pytest.mark.parametrize("text", [f"<think>\nHm <b>.\n</think>\n\n{ANSWER}", f" {ANSWER}", "<think>It never ends"])
def test_however_it_is_cut(text, cuts):
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    thoughts = Thoughts()
    pieces = [thoughts.without(text[start:end]) for start, end in pairwise(borders)]

    assert "".join(pieces) + thoughts.end() == without_thoughts(text)
