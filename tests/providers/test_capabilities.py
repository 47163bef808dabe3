"""What a route can do decides which routes are candidates, before anything is paid."""

import pytest
from django.core.exceptions import ValidationError

from providers.capabilities import unsupported_reason, validate_capabilities, voice_for
from providers.types import Attachment, Category, OutputOptions, Prompt

IMAGE = Attachment("image/png", b"")
VOICE = Attachment("audio/ogg", b"")


def prompt(text: str = "A cat", attachments: tuple[Attachment, ...] = (), **output_options) -> Prompt:
    return Prompt(Category.VIDEO, text, attachments=attachments, output_options=OutputOptions(**output_options))


@pytest.mark.parametrize(
    ("capabilities", "asked", "reason"),
    [
        ({}, prompt("x" * 100_000, seconds=99, aspect_ratio="7:3"), ""),
        ({"max_prompt_characters": 5}, prompt("A cat"), ""),
        ({"max_prompt_characters": 4}, prompt("A cat"), "no prompts over 4 characters"),
        ({"seconds": [5, 10]}, prompt(seconds=10), ""),
        ({"seconds": [5, 10]}, prompt(seconds=7), "not 7, only seconds 5, 10"),
        ({"seconds": [5, 10]}, prompt(), ""),
        ({"aspect_ratios": ["1:1"]}, prompt(aspect_ratio="16:9"), "not '16:9', only aspect ratios 1:1"),
        ({"voices": ["eve"]}, prompt(voice="adam"), "not 'adam', only voices eve"),
        ({"languages": ["en"]}, prompt(language="de"), "not 'de', only languages en"),
        ({"image_input": False}, prompt(attachments=(IMAGE,)), "no image input"),
        ({}, prompt(attachments=(IMAGE,)), ""),
        ({"audio_input": True}, prompt(attachments=(VOICE,)), ""),
        ({"audio_input": False}, prompt(attachments=(VOICE,)), "no audio input"),
        ({}, prompt(attachments=(VOICE,)), "no audio input"),  # most models take no audio
        ({"qualities": ["low"]}, prompt(quality="high"), "not 'high', only qualities low"),
        ({}, prompt(quality="high"), ""),
        ({}, prompt(negative_prompt="blur"), "no negative prompt"),
        ({"negative_prompt": True}, prompt(negative_prompt="blur"), ""),
        ({}, prompt(seed=0), "no seed"),
        ({"seed": True}, prompt(seed=0), ""),
    ],
)
def test_a_route_says_why_it_does_not_support_a_prompt(capabilities, asked, reason):
    assert unsupported_reason(capabilities, asked) == reason


def test_a_route_speaks_with_the_voice_that_is_wanted_else_with_its_first():
    assert voice_for(prompt(), {"voices": ["eve", "adam"]}) == "eve"
    assert voice_for(prompt(voice="adam"), {"voices": ["eve", "adam"]}) == "adam"
    assert voice_for(prompt(), {}) == ""


@pytest.mark.parametrize(
    ("capabilities", "hint"),
    [
        ([], "JSON object"),
        ({"colour": True}, "Unknown capability 'colour'"),
        ({"seconds": 5}, "seconds must be a list"),
        ({"seconds": ["5"]}, "seconds must be a list"),
        ({"aspect_ratios": [1]}, "aspect_ratios must be a list"),
        ({"image_input": "yes"}, "image_input must be true or false"),
        ({"max_prompt_characters": 0}, "whole number above 0"),
        ({"max_prompt_characters": True}, "whole number above 0"),
    ],
)
def test_invalid_capabilities_are_refused_with_a_hint(capabilities, hint):
    with pytest.raises(ValidationError, match=hint):
        validate_capabilities(capabilities)
