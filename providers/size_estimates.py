"""How large texts and files may be, before a provider has measured them: rather too large than too small."""

import math

from providers.common.audio_length import audio_seconds

TOKENS_OF_AN_IMAGE = 5_000  # at the finest detail that a provider chooses by itself
TOKENS_PER_SECOND = 32  # of audio; Gemini's, and nobody makes more
BYTES_PER_SECOND = 1_500  # of audio that cannot be measured; a voice message of Telegram has 2,000 and more
TOKENS_OF_A_SEARCH = 10_000  # which its results add to the input
TOKENS_PER_CHARACTER = 1  # where only the length is known; only rare scripts and emoji have more


def tokens_at_most(text: str) -> int:
    """Return how many tokens a text has at most: one for a byte, of which a usual token has three or four."""
    return len(text.encode("utf-8", "replace")) + 1


def is_audio(content_type: str) -> bool:
    """Return whether a file is something to listen to."""
    return content_type.startswith("audio/")


def seconds_of_audio(content: bytes) -> int:
    """Return for how long audio plays, in whole seconds."""
    seconds = audio_seconds(content)
    return seconds_by_size(len(content)) if seconds is None else math.ceil(seconds)


def seconds_by_size(size: int) -> int:
    """Return for how long audio of so many bytes may play."""
    return size // BYTES_PER_SECOND + 1


def tokens_of_audio(seconds: int) -> int:
    """Return more tokens than models make of audio."""
    return seconds * TOKENS_PER_SECOND
