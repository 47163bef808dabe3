"""Token counts: the total decides what lies inside of what, and a zero that nobody counted is none."""

import pytest

from providers.backends.token_usage import larger_counts, token_usage


def counts(reasoning_is_inside=True, **usage):
    used = token_usage(usage, reasoning_is_inside=reasoning_is_inside)
    return used.input_tokens, used.cached_input_tokens, used.output_tokens


CACHED, REASONING = {"cached_tokens": 800}, {"reasoning_tokens": 400}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 1000, "completion_tokens": 500}, (1000, 0, 500)),
        ({"prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": CACHED}, (200, 800, 500)),
        (
            {"prompt_tokens": 200, "completion_tokens": 500, "total_tokens": 1500, "prompt_tokens_details": CACHED},
            (200, 800, 500),
        ),
        ({"prompt_tokens": 1000, "completion_tokens": 500, "prompt_cache_hit_tokens": 800}, (200, 800, 500)),
        ({"prompt_tokens": 1000, "completion_tokens": 500, "cached_tokens": 800}, (200, 800, 500)),
        ({"input_tokens": 1000, "output_tokens": 500, "input_tokens_details": CACHED}, (200, 800, 500)),
        (
            {"prompt_tokens": 9, "completion_tokens": 100, "total_tokens": 509, "completion_tokens_details": REASONING},
            (9, 0, 500),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 500, "total_tokens": 509, "completion_tokens_details": REASONING},
            (9, 0, 500),
        ),
        (
            {
                "prompt_tokens": 200,
                "completion_tokens": 100,
                "total_tokens": 1500,
                "prompt_tokens_details": CACHED,
                "completion_tokens_details": REASONING,
            },
            (200, 800, 500),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 99, "prompt_tokens_details": CACHED},
            (0, 800, 5),
        ),
        ({"completion_tokens": 5}, (None, 0, 5)),
        ({}, (None, 0, None)),
    ],
)
def test_what_lies_inside(usage, expected):
    assert counts(**usage) == expected


def test_without_a_total_the_providers_habit_decides():
    usage = {"prompt_tokens": 9, "completion_tokens": 500, "completion_tokens_details": REASONING}

    assert counts(reasoning_is_inside=False, **usage) == (9, 0, 900)
    assert counts(reasoning_is_inside=True, **usage) == (9, 0, 500)


@pytest.mark.parametrize("total", [{}, {"total_tokens": 0}, {"total_tokens": 9 + 100 + 400 + 5}])
def test_a_part_that_is_larger_than_the_whole_lies_beside_it(total):
    usage = {"prompt_tokens": 9, "completion_tokens": 100, "completion_tokens_details": REASONING, **total}
    assert counts(reasoning_is_inside=True, **usage) == (9, 0, 500)


def test_nor_are_cached_tokens_inside_of_fewer():
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": CACHED}
    assert counts(**usage) == (100, 800, 5)


def test_counts_of_a_stream_grow():
    first = {"prompt_tokens": 9, "details": {"cached": 1}, "tier": None}
    later = {"prompt_tokens": 0, "completion_tokens": 5, "details": {"cached": 0, "audio": 2}, "tier": "x"}

    assert larger_counts(first, later) == {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "details": {"cached": 1, "audio": 2},
        "tier": "x",
    }


@pytest.mark.parametrize(
    "written",
    [
        {"prompt_tokens_details": {"cache_write_tokens": 300}},
        {"input_tokens_details": {"cache_write_tokens": 300}},
        {"cache_creation_input_tokens": 300},
    ],
)
def test_what_is_written_to_a_cache_is_a_part_of_the_input(written):
    used = token_usage({"prompt_tokens": 1000, "completion_tokens": 5, **written}, reasoning_is_inside=True)

    assert (used.input_tokens, used.cache_write_tokens, used.all_input_tokens) == (700, 300, 1000)
