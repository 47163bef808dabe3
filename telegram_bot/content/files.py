"""Images, videos and audio files as Telegram accepts them: kinds, size limits, file names."""

from dataclasses import dataclass

from django.core.files.storage import default_storage

from requests_app.models import Request

# What a bot may upload (python-telegram-bot's constants, Bot API 10.0). Larger images go as documents.
MAX_BYTES = 50 * 1024 * 1024
MAX_PHOTO_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An output that a message shows."""

    name: str  # in Django's storage
    content_type: str
    size: int  # bytes
    is_document: bool = False  # shown as a file to open, because Telegram refuses it as media

    @property
    def as_document(self) -> "StoredFile":
        return StoredFile(self.name, self.content_type, self.size, is_document=True)

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

    def read(self) -> bytes:
        """Return the file's bytes from the storage."""
        with default_storage.open(self.name) as file:
            content: bytes = file.read()
        return content


def file_of(request: Request) -> StoredFile | None:
    """Return the file that a completed request shows; None where it shows text."""
    if request.status != Request.Status.COMPLETED or not request.output_media:
        return None
    stored = request.output_media[0]
    return StoredFile(stored["name"], stored["content_type"], stored["size"])
