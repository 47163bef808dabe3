"""What a row can do decides who is asked, before anything is paid."""

import pytest
from django.core.exceptions import ValidationError

from providers.capabilities import fitted, shortfall, validate_capabilities
from providers.types import Attachment, Category, Prompt, Wishes

PICTURE = Attachment("image/png", b"")
VOICE = Attachment("audio/ogg", b"")


def prompt(text: str = "A cat", attachments: tuple[Attachment, ...] = (), **wishes) -> Prompt:
    return Prompt(Category.VIDEO, text, attachments=attachments, wishes=Wishes(**wishes))


@pytest.mark.parametrize(
    ("capabilities", "asked", "lacking"),
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
        ({"image_input": False}, prompt(attachments=(PICTURE,)), "no image input"),
        ({}, prompt(attachments=(PICTURE,)), ""),
        ({"audio_input": True}, prompt(attachments=(VOICE,)), ""),
        ({"audio_input": False}, prompt(attachments=(VOICE,)), "no audio input"),
        ({}, prompt(attachments=(VOICE,)), "no audio input"),  # most models cannot listen
    ],
)
def test_a_row_says_what_it_lacks(capabilities, asked, lacking):
    assert shortfall(capabilities, asked) == lacking


def test_a_row_is_asked_with_its_model_and_its_first_voice():
    asked = fitted(prompt(), model="m", capabilities={"voices": ["eve", "adam"]})

    assert (asked.model, asked.wishes.voice) == ("m", "eve")
    assert fitted(prompt(voice="adam"), model="m", capabilities={"voices": ["eve", "adam"]}).wishes.voice == "adam"


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
def test_what_nobody_could_use_is_refused_with_a_hint(capabilities, hint):
    with pytest.raises(ValidationError, match=hint):
        validate_capabilities(capabilities)
