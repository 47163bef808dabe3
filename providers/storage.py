"""Media files: checked for what they really are, and stored by Django's default storage."""

import logging
import math
from dataclasses import dataclass, replace

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from providers.common.audio_length import audio_seconds
from providers.common.file_types import FileType, audio_type, file_type_of, image_type
from providers.errors import NotStored, OutcomeUnknown
from providers.types import Category

logger = logging.getLogger("providers")


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """A file that is ours."""

    name: str  # in Django's storage
    content_type: str
    size: int  # bytes
    seconds: int = 0  # for which audio that a user sent plays

    def as_dict(self) -> dict[str, str | int]:
        """Return it as the request's row keeps it."""
        stored: dict[str, str | int] = {"name": self.name, "content_type": self.content_type, "size": self.size}
        return {**stored, "seconds": self.seconds} if self.seconds else stored


def store_output(*, category: Category, content: bytes, key: str) -> StoredMedia:
    """Check an output and store it under a name made of `key`; storing it again replaces the first copy atomically.

    Raises OutcomeUnknown where the bytes are no output of this category, NotStored where the storage fails.
    """
    file_type = file_type_of(category, content)
    if file_type is None:
        raise OutcomeUnknown(f"the output is no {category.lower()}", ends_job=True)
    try:
        return _store(content, file_type, f"results/{key[-2:]}/{key}")
    except Exception as error:  # a full disk, a network failure: each storage has errors of its own
        logger.error("The output %s could not be stored: %s: %s", key, type(error).__name__, error)
        raise NotStored(type(error).__name__) from error


def store_image(*, content: bytes, key: str) -> StoredMedia | None:
    """Check an image that a user sent and store it under a name made of `key`. None where it is no image."""
    file_type = image_type(content)
    return _store(content, file_type, f"prompts/{key[-2:]}/{key}") if file_type else None


def store_audio(*, content: bytes, key: str) -> StoredMedia | None:
    """Check audio that a user sent and store it under a name made of `key`.

    None where it is no audio, or where nobody can tell how long it plays, by which hearing it is billed.
    """
    file_type = audio_type(content)
    seconds = audio_seconds(content) if file_type else None
    if file_type is None or seconds is None:
        return None
    stored = _store(content, file_type, f"prompts/{key[-2:]}/{key}")
    return replace(stored, seconds=math.ceil(seconds))


def _store(content: bytes, file_type: FileType, stem: str) -> StoredMedia:
    # The storage replaces a file of that name in one step: what was stored before is there until the new one is.
    stored = default_storage.save(f"{stem}.{file_type.extension}", ContentFile(content))
    return StoredMedia(stored, file_type.content_type, len(content))
