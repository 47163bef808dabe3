"""How many tokens a text or a file may become, before anybody has counted them: rather too many than too few."""

TOKENS_OF_AN_IMAGE = 5_000  # at the finest detail that a provider chooses by itself
AUDIO_BYTES_PER_TOKEN = 50  # Gemini makes 32 tokens of a second, and a voice message has 2,000 bytes or more of it
TOKENS_PER_CHARACTER = 1  # where only the length is known; only rare scripts and emoji have more


def tokens_at_most(text: str) -> int:
    """Return more tokens than tokenizers make of a text: English has four bytes to a token, Chinese three."""
    return len(text.encode("utf-8", "replace")) // 2 + 1


def tokens_of_file(content_type: str, size: int) -> int:
    """Return more tokens than models make of an image, or of audio of so many bytes."""
    return size // AUDIO_BYTES_PER_TOKEN if content_type.startswith("audio/") else TOKENS_OF_AN_IMAGE
