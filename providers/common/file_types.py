"""What a file is, by its bytes and not by what anybody says of it. Pure, without Django."""

import io
import warnings
from dataclasses import dataclass

from PIL import Image

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # the tag of EXIF, and its values for an image that lies on its side
MAX_PIXELS = 64_000_000  # 8,000 × 8,000; a small file can unpack into an image that fills the memory


@dataclass(frozen=True, slots=True)
class FileType:
    """A type of file that we store and show."""

    content_type: str
    extension: str


IMAGE_TYPES = {
    "PNG": FileType("image/png", "png"),
    "JPEG": FileType("image/jpeg", "jpg"),
    "WEBP": FileType("image/webp", "webp"),
    "GIF": FileType("image/gif", "gif"),
}
MP4 = FileType("video/mp4", "mp4")
WEBM = FileType("video/webm", "webm")
MP3 = FileType("audio/mpeg", "mp3")
OGG = FileType("audio/ogg", "ogg")
WAV = FileType("audio/wav", "wav")
FLAC = FileType("audio/flac", "flac")


def file_type_of(category: str, content: bytes) -> FileType | None:
    """Return the type of an IMAGE, VIDEO or AUDIO output; None where the bytes are nothing of the kind."""
    if category == "IMAGE":
        return image_type(content)
    return video_type(content) if category == "VIDEO" else audio_type(content)


def image_type(content: bytes) -> FileType | None:
    """Return the type of an image; None where it is none, or a decompression bomb. Pillow reads all of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=list(IMAGE_TYPES)) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                name = image.format or ""
                image.verify()
    except Exception:  # noqa: BLE001 — Pillow raises whatever its decoders do; all of it means "no image"
        return None
    return IMAGE_TYPES.get(name)


def image_size(content: bytes) -> tuple[int, int] | None:
    """Return the width and height of an image in pixels, as it is seen; None where it is none."""
    try:
        with Image.open(io.BytesIO(content), formats=list(IMAGE_TYPES)) as image:
            width, height = image.size
            is_turned = image.getexif().get(ORIENTATION, 1) in TURNED
    except Exception:  # noqa: BLE001 — Pillow raises whatever its decoders do
        return None
    return (height, width) if is_turned else (width, height)


def video_type(content: bytes) -> FileType | None:
    """Return the type of a video; None where it is none."""
    if content[4:8] == b"ftyp":
        return MP4
    return WEBM if content.startswith(b"\x1a\x45\xdf\xa3") else None


def audio_type(content: bytes) -> FileType | None:
    """Return the type of an audio file; None where it is none."""
    # An MPEG frame starts with eleven set bits; layer III is 01 in the two bits after the version.
    is_bare_mp3 = len(content) > 2 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2
    if content.startswith(b"ID3") or is_bare_mp3:
        return MP3
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        return WAV
    if content.startswith(b"OggS"):
        return OGG
    return FLAC if content.startswith(b"fLaC") else None
