"""Outputs: their type is read from their bytes, and only what was asked for is stored."""

import io
import struct
import zlib

import pytest
from django.core.files.storage import default_storage
from PIL import Image

from providers.common.file_types import file_type_of
from providers.errors import OutcomeUnknown
from providers.storage import store_output
from providers.types import Category


def image(form: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, form)
    return buffer.getvalue()


def huge_png() -> bytes:
    """A file of a few bytes that says it is 50,000 × 50,000."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(16)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "


@pytest.mark.parametrize(
    ("category", "content", "content_type"),
    [
        (Category.IMAGE, image("PNG"), "image/png"),
        (Category.IMAGE, image("JPEG"), "image/jpeg"),
        (Category.IMAGE, image("WEBP"), "image/webp"),
        (Category.VIDEO, MP4, "video/mp4"),
        (Category.VIDEO, b"\x1a\x45\xdf\xa3more", "video/webm"),
        (Category.AUDIO, b"ID3\x04more", "audio/mpeg"),
        (Category.AUDIO, b"\xff\xfb\x90\x00more", "audio/mpeg"),
        (Category.AUDIO, b"OggS\x00more", "audio/ogg"),
        (Category.AUDIO, WAV, "audio/wav"),
    ],
)
def test_a_file_is_what_its_bytes_say(category, content, content_type):
    assert file_type_of(category, content).content_type == content_type


@pytest.mark.parametrize(
    ("category", "content"),
    [
        (Category.IMAGE, b""),
        (Category.IMAGE, b"<html>not an image</html>"),
        (Category.IMAGE, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        (Category.IMAGE, image()[:40]),
        (Category.IMAGE, huge_png()),
        (Category.IMAGE, MP4),
        (Category.VIDEO, image()),
        (Category.VIDEO, b"{}"),
        (Category.AUDIO, b'{"detail": "quota_exceeded"}'),
    ],
)
def test_anything_else_is_no_output_and_the_job_is_over(category, content):
    assert file_type_of(category, content) is None
    with pytest.raises(OutcomeUnknown) as caught:
        store_output(category=category, content=content, key="attempt-1")
    assert caught.value.ends_job


def test_an_output_stored_twice_is_there_once(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "aibot.file_storage.AtomicFileSystemStorage"}}

    first = store_output(category=Category.IMAGE, content=image(), key="attempt-1")
    second = store_output(category=Category.IMAGE, content=image(), key="attempt-1")

    assert first.name == second.name == "results/-1/attempt-1.png"
    assert default_storage.size(second.name) == second.size == len(image())
    assert [path.name for path in tmp_path.rglob("*.*")] == ["attempt-1.png"]
