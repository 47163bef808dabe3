"""For how long an audio file plays, counted from what is in it: what a file says of its length may be anything.

Pure, and linear in the file. Sources: RFC 3533 (Ogg), RFC 7845 and RFC 6716, section 3.1 (Opus), ISO 11172-3 (MP3).
"""

import re
from collections.abc import Iterator

OPUS_SILK = (10.0, 20.0, 40.0, 60.0)  # milliseconds of a frame, by the two last bits of its configuration
OPUS_HYBRID = (10.0, 20.0, 10.0, 20.0)
OPUS_CELT = (2.5, 5.0, 10.0, 20.0)
PCM_FORMATS = (1, 3, 0xFFFE)  # whole numbers, floats, and either with more channels
MP3_BITRATES = {  # kilobits a second, by the version and the index in the header of a frame
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
MP3_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # layer III
MAX_FALSE_SYNCS = 100_000  # what only looks like a frame, as in a picture of the cover: beyond that it is no MP3


def audio_seconds(content: bytes) -> float | None:
    """Return how long an Ogg Opus, WAV or MP3 file plays; None for any other, and for one in which nothing plays."""
    if content.startswith(b"OggS"):
        seconds = _opus_seconds(content)
    elif content.startswith(b"RIFF"):
        seconds = _wav_seconds(content)
    else:
        seconds = _mp3_seconds(content)
    return seconds or None


def _opus_seconds(content: bytes) -> float:
    packets = _ogg_packets(content)
    if not next(packets, b"").startswith(b"OpusHead"):
        return 0.0
    next(packets, b"")  # comments
    return sum(_opus_milliseconds(packet) for packet in packets) / 1000


def _ogg_packets(content: bytes) -> Iterator[bytes]:
    """Yield the first two bytes or more of each packet: those of one page whole, of longer ones the beginning."""
    position, begun = 0, b""
    while (position := content.find(b"OggS", position)) >= 0 and position + 27 <= len(content):
        lacing = content[position + 27 : position + 27 + content[position + 26]]
        start = end = position + 27 + len(lacing)
        for length in lacing:
            end += length
            if length < 255:  # a longer one goes on
                yield begun + content[start:end]
                start, begun = end, b""
        begun += content[start:end]
        position = end


def _opus_milliseconds(packet: bytes) -> float:
    if not packet:
        return 0.0
    configuration, code = packet[0] >> 3, packet[0] & 3
    sizes = OPUS_SILK if configuration < 12 else OPUS_HYBRID if configuration < 16 else OPUS_CELT
    frames = (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[code]
    return min(120.0, frames * sizes[configuration & 3])  # a packet has no more


def _wav_seconds(content: bytes) -> float:
    bytes_a_second, position = 0, 12
    while position + 8 <= len(content):
        name, size = content[position : position + 4], int.from_bytes(content[position + 4 : position + 8], "little")
        body = position + 8
        if name == b"fmt " and int.from_bytes(content[body : body + 2], "little") in PCM_FORMATS:
            channels, rate, bits = (
                int.from_bytes(content[body + at : body + to], "little") for at, to in ((2, 4), (4, 8), (14, 16))
            )
            bytes_a_second = channels * rate * bits // 8
        elif name == b"data":
            return (len(content) - body) / bytes_a_second if bytes_a_second else 0.0
        position = body + size + size % 2
    return 0.0


def _mp3_seconds(content: bytes) -> float:
    position, seconds = 0, 0.0
    if content.startswith(b"ID3") and len(content) > 10:
        position = 10 + sum((byte & 127) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
    no_frames = 0
    while (found := MP3_SYNC.search(content, position)) and found.start() + 3 < len(content):
        position = found.start()
        length, duration = _mp3_frame(content[position + 1], content[position + 2])
        no_frames += not length
        if no_frames > MAX_FALSE_SYNCS:
            return 0.0
        seconds += duration
        position += max(length, 1)
    return seconds


def _mp3_frame(first: int, second: int) -> tuple[int, float]:
    """Return the length in bytes and the duration in seconds of the frame with this header, zeros where it is none."""
    version, rate_index = first >> 3 & 3, second >> 2 & 3
    bitrate = MP3_BITRATES[version == 3][second >> 4]
    if version not in MP3_RATES or rate_index == 3 or not bitrate:
        return 0, 0.0
    rate, samples = MP3_RATES[version][rate_index], 1152 if version == 3 else 576
    return samples // 8 * bitrate * 1000 // rate + (second >> 1 & 1), samples / rate
