"""The sandbox's outputs: the same small, valid sample of each file type, whatever the prompt was."""

from functools import cache
from pathlib import Path

SAMPLES = Path(__file__).parent / "samples"
WAV_HEADER_BYTES = 44
SAID = b"said: "  # in a file of a user's, before its words; a NUL ends them
SILENCE = b"silence"  # a file that contains this has no words
HEARD = "What is the capital of Peru?"  # in any other
CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "pcm": "audio/pcm;rate=24000;channels=1",
}


@cache
def content_of(name: str) -> bytes:
    """Return what is behind a file's name, whose ending says what it is."""
    match _ending(name):
        case "pcm":  # the samples of the WAV, without its header
            return content_of("sample.wav")[WAV_HEADER_BYTES:]
        case "jpeg":
            return content_of("sample.jpg")
        case ending:
            return (SAMPLES / f"sample.{ending}").read_bytes()


def words_in(audio: bytes) -> str:
    """Return what the sandbox hears in a file that a user has sent."""
    _, is_said, words = audio.partition(SAID)
    if is_said:
        return words.partition(b"\0")[0].decode("utf-8", "replace")
    return "" if SILENCE in audio else HEARD


def content_type_of(name: str) -> str:
    return CONTENT_TYPES[_ending(name)]


def _ending(name: str) -> str:
    return name.rpartition(".")[2]
