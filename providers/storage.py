"""Outputs: checked for what they really are, and kept by Django's storage."""

import io
import logging
import warnings
from dataclasses import dataclass

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image

from providers.errors import NotStored, OutcomeUnknown
from providers.types import Category

logger = logging.getLogger("providers")

MAX_PIXELS = 64_000_000  # 8,000 × 8,000; a small file can unpack into a picture that fills the memory


@dataclass(frozen=True, slots=True)
class FileType:
    """What a file is, by its first bytes and not by what anybody says of it."""

    content_type: str
    extension: str


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """An output that is ours now."""

    name: str  # in Django's storage
    content_type: str
    size: int  # bytes

    def as_dict(self) -> dict[str, str | int]:
        """Return it as the request's row keeps it."""
        return {"name": self.name, "content_type": self.content_type, "size": self.size}


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


def file_type_of(category: Category, content: bytes) -> FileType:
    """Return what an output of this category is. Raises OutcomeUnknown where it is nothing of the kind."""
    if category is Category.IMAGE:
        found = _image_type(content)
    elif category is Category.VIDEO:
        found = _video_type(content)
    else:
        found = _audio_type(content)
    if found is None:
        error = OutcomeUnknown(f"the output is no {category.lower()}")
        error.ends_job = True
        raise error
    return found


def _image_type(content: bytes) -> FileType | None:
    """Let Pillow read the whole file: a header alone is easily right."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=list(IMAGE_TYPES)) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    return None
                name = picture.format or ""
                picture.verify()
    except Exception:  # noqa: BLE001 — Pillow raises whatever its decoders do; all of it means "no picture"
        return None
    return IMAGE_TYPES.get(name)


def _video_type(content: bytes) -> FileType | None:
    if content[4:8] == b"ftyp":
        return MP4
    return WEBM if content.startswith(b"\x1a\x45\xdf\xa3") else None


def _audio_type(content: bytes) -> FileType | None:
    # An MPEG frame starts with eleven set bits; layer III is 01 in the two bits after the version.
    is_bare_mp3 = len(content) > 2 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2
    if content.startswith(b"ID3") or is_bare_mp3:
        return MP3
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        return WAV
    if content.startswith(b"OggS"):
        return OGG
    return FLAC if content.startswith(b"fLaC") else None


def store_output(*, category: Category, content: bytes, key: str) -> StoredMedia:
    """Check an output and store it under a name made of `key`; storing it again replaces the first copy.

    Raises OutcomeUnknown where the bytes are no output of this category, NotStored where the storage fails.
    """
    file_type = file_type_of(category, content)
    try:
        return _keep(content, file_type, f"results/{key[-2:]}/{key}")
    except Exception as error:  # a full disk, a network fault: each storage has errors of its own
        logger.exception("The output %s could not be stored", key)
        raise NotStored(type(error).__name__) from error


def store_image(*, content: bytes, key: str) -> StoredMedia | None:
    """Check a picture that a user sent and store it under a name made of `key`. None where it is no picture."""
    file_type = _image_type(content)
    return _keep(content, file_type, f"prompts/{key[-2:]}/{key}") if file_type else None


def store_audio(*, content: bytes, key: str) -> StoredMedia | None:
    """Check a recording that a user sent and store it under a name made of `key`. None where it is no sound."""
    file_type = _audio_type(content)
    return _keep(content, file_type, f"prompts/{key[-2:]}/{key}") if file_type else None


def _keep(content: bytes, file_type: FileType, stem: str) -> StoredMedia:
    name = f"{stem}.{file_type.extension}"
    if default_storage.exists(name):
        default_storage.delete(name)
    stored = default_storage.save(name, ContentFile(content))
    return StoredMedia(stored, file_type.content_type, len(content))
