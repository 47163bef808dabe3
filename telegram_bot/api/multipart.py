"""Multipart forms with one file, which is read while it is sent: a worker never holds a whole video in memory."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.files.base import File

from telegram_bot.content.files import FileUnavailable

CHUNK_BYTES = 64 * 1024


class MultipartForm:
    """The body of one upload, as an iterable of bytes with a known length. It can be sent once.

    Where the file cannot be read, `storage_error` is what the storage has raised; the body is incomplete then, so the
    call was not executed.
    """

    def __init__(self, fields: Mapping[str, str], *, field: str, filename: str, file: "File[Any]") -> None:
        """Names, texts and filename are ours and need no escaping."""
        boundary = secrets.token_hex(16)
        texts = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in fields.items()
        )
        file_head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = (texts + file_head).encode("utf-8", "replace")
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._file = file
        self._size = file.size
        self.storage_error: Exception | None = None
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + self._size + len(self._tail)),
        }

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        left = self._size
        while left:
            chunk = self._read(min(CHUNK_BYTES, left))
            left -= len(chunk)
            yield chunk
        yield self._tail

    def _read(self, size: int) -> bytes:
        try:
            chunk: bytes = self._file.read(size)
            if not chunk:
                raise FileUnavailable("The file is shorter than its storage says.")
        except Exception as error:
            self.storage_error = error
            raise
        return chunk
