"""Images, videos and audio files as Telegram accepts them: kinds, size limits, file names. Nothing is sent here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage

from providers.db import give_back_connection
from requests_app.models import Request

# What a bot may upload (python-telegram-bot's constants, Bot API 10.0). Larger images go as documents.
MAX_BYTES = 50 * 1024 * 1024
MAX_PHOTO_BYTES = 10 * 1024 * 1024


class FileUnavailable(OSError):
    """The storage does not give the file now."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").partition("\n")[0]


class FileMissing(FileUnavailable):
    """The storage of this machine has no such file."""


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Translate what a storage raises: each has errors of its own."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileMissing from error
    except Exception as error:
        raise FileUnavailable(f"The storage does not give the file ({type(error).__name__}).") from error


class StorageFile(File):  # type: ignore[type-arg]  # at run time it takes no argument
    """An open file of the storage, which raises FileUnavailable where it cannot be read."""

    def __init__(self, opened: "File[Any]") -> None:
        super().__init__(opened.file, opened.name)
        self._opened = opened

    @property
    def size(self) -> int:
        """The file's length in bytes, as the storage says."""
        with _storage_errors():
            return self._opened.size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, all that are left by default."""
        with _storage_errors():
            content: bytes = self._opened.read(size)
            return content

    def close(self) -> None:
        """Close the file."""
        self._opened.close()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An output that a message shows."""

    name: str  # in Django's storage
    content_type: str
    size: int  # bytes
    is_document: bool = False  # shown as a file to open, because Telegram refuses it as media
    file_id: str = ""  # Telegram's, where it has been uploaded as this kind: it is sent instead of the bytes

    @property
    def as_document(self) -> Self:
        return replace(self, is_document=True, file_id="")

    @property
    def kind(self) -> str:
        """Telegram's name for it: "photo", "video", "audio" or "document"."""
        maintype = self.content_type.partition("/")[0]
        if self.is_document:
            return "document"
        if maintype == "image" and (self.size > MAX_PHOTO_BYTES or self.content_type == "image/gif"):
            return "document"
        return {"image": "photo", "video": "video", "audio": "audio"}.get(maintype, "document")

    @property
    def filename(self) -> str:
        """The name under which users save it."""
        return f"answer.{self.name.rpartition('.')[2]}"

    def open(self) -> "File[Any]":
        """Open the file in the storage, to be read piece by piece; no database connection is held meanwhile.

        Raises FileMissing or FileUnavailable, as reading does: a retry may find it, on another machine or later.
        """
        give_back_connection()
        with _storage_errors():
            return StorageFile(default_storage.open(self.name))

    def read(self) -> bytes:
        """Return the file's bytes; see open()."""
        with self.open() as file:
            content: bytes = file.read()
        return content


@dataclass(frozen=True, slots=True)
class TextFile(StoredFile):
    """A text as a document, for where it is too long for messages, or Telegram refuses it as one."""

    text: str = field(default="", repr=False)

    @classmethod
    def of(cls, text: str, name: str = "answer.txt") -> "TextFile":
        """Return this text as a document of this name."""
        return cls(name, "text/plain", len(text.encode()), is_document=True, text=text)

    def open(self) -> "File[Any]":
        """Return the text's bytes as an open file."""
        return ContentFile(self.text.encode())


def file_of(request: Request) -> StoredFile | None:
    """Return the file that a completed request shows; None where it shows text."""
    if request.status != Request.Status.COMPLETED or not request.output_media:
        return None
    stored = request.output_media[0]
    return StoredFile(stored["name"], stored["content_type"], stored["size"])
