"""What a route can do. It is data: the operator sees and corrects it, and it decides which routes are candidates."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from providers.types import Operation, Prompt

LISTS: Mapping[str, type] = {
    "seconds": int, "aspect_ratios": str, "voices": str, "languages": str, "qualities": str,
}  # fmt: skip
# What is assumed of a route that does not say. Few models take these, and a wrong guess would open its circuit.
DEFAULT_INPUT = {"image": True, "audio": False}
DEFAULT_OPTIONS = {"negative_prompt": False, "seed": False}
SWITCHES = ("image_input", "audio_input", *DEFAULT_OPTIONS)
TAKES_FILES = (Operation.EDIT, Operation.TRANSCRIBE)  # by themselves
NAMES = ("max_prompt_characters", *LISTS, *SWITCHES)


def validate_capabilities(capabilities: Any) -> None:
    """Refuse what unsupported_reason() could not use, in words that say what to type."""
    if not isinstance(capabilities, dict):
        raise ValidationError("Capabilities must be a JSON object.")
    for name, value in capabilities.items():
        if name not in NAMES:
            raise ValidationError(f"Unknown capability {name!r}. Use {', '.join(NAMES)}.")
        if name in SWITCHES and not isinstance(value, bool):
            raise ValidationError(f"{name} must be true or false.")
        if name in LISTS and not (isinstance(value, list) and all(type(item) is LISTS[name] for item in value)):
            raise ValidationError(f"{name} must be a list, such as {_example(name)}.")
        if name == "max_prompt_characters" and not (type(value) is int and value > 0):
            raise ValidationError("max_prompt_characters must be a whole number above 0.")


def _example(name: str) -> str:
    examples = {
        "seconds": "[5, 10]",
        "aspect_ratios": '["1:1", "16:9"]',
        "languages": '["en", "de"]',
        "qualities": '["low", "high"]',
    }
    return examples.get(name, '["…"]')


def unsupported_reason(capabilities: Mapping[str, Any], prompt: Prompt) -> str:
    """Return what the prompt needs and the route cannot do, "" where it can do all.

    What a route leaves out is no limit, except for audio input, negative prompts and seeds.
    """
    longest = capabilities.get("max_prompt_characters")
    if longest is not None and len(prompt.text) > longest:
        return f"no prompts over {longest} characters"
    options = prompt.output_options
    for name, wanted in (
        ("seconds", options.seconds),
        ("aspect_ratios", options.aspect_ratio),
        ("voices", options.voice),
        ("languages", options.language),
        ("qualities", options.quality),
    ):
        if wanted and name in capabilities and wanted not in capabilities[name]:
            return (
                f"not {wanted!r}, only {name.replace('_', ' ')} {', '.join(str(item) for item in capabilities[name])}"
            )
    for switch, wanted in (("negative_prompt", options.negative_prompt), ("seed", options.seed is not None)):
        if wanted and not capabilities.get(switch, DEFAULT_OPTIONS[switch]):
            return f"no {switch.replace('_', ' ')}"
    kinds = {attachment.content_type.partition("/")[0] for attachment in prompt.attachments}
    for kind, is_usual in DEFAULT_INPUT.items():
        takes_it = capabilities.get(f"{kind}_input", is_usual) or prompt.operation in TAKES_FILES
        if kind in kinds and not takes_it:
            return f"no {kind} input"
    return ""


def voice_for(prompt: Prompt, capabilities: Mapping[str, Any]) -> str:
    """Return the voice that the options name, else the route's first one, "" where it has none."""
    voices = capabilities.get("voices") or [""]
    return prompt.output_options.voice or str(voices[0])
