"""Audio files made of headers and nothing to hear: of any length, and with words for the sandbox."""

import struct

from providers.sandbox.fake_files import SAID

TOC_20_MS = 0x78  # CELT, fullband, 20 ms, one frame a packet


def opus(seconds: float = 1.0, *, said: str | None = None, toc: int = TOC_20_MS, frame_bytes: int = 40) -> bytes:
    """Return an Ogg Opus file as a voice message is: packets of 20 ms, fifty to a page."""
    comments = b"OpusTags" + struct.pack("<II", 0, 0) + (b"" if said is None else SAID + said.encode() + b"\0")
    frames = [bytes([toc]) + bytes(frame_bytes - 1)] * round(seconds * 50)
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    pages = [[head], [comments], *(frames[at : at + 50] for at in range(0, len(frames), 50))]
    return b"".join(_page(number, packets) for number, packets in enumerate(pages))


def _page(number: int, packets: list[bytes]) -> bytes:
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, 2 if number == 0 else 0, number * 48_000, 1, number, 0, len(lacing))
    return head + lacing + b"".join(packets)


def wav(seconds: float = 1.0, *, rate: int = 8_000) -> bytes:
    """Return a WAV file with 16 bits a sample."""
    data = bytes(2 * round(seconds * rate))
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF\0\0\0\0WAVE" + b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", 0) + data


def mp3(seconds: float = 1.0) -> bytes:
    """Return an MP3 file of 128 kbit/s and 44.1 kHz."""
    frame = b"\xff\xfb\x90\x00" + bytes(417 - 4)
    return b"ID3\x04\0\0\0\0\0\x05hello" + frame * round(seconds * 44_100 / 1152)
