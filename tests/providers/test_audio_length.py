"""The length of audio is counted from what is in it, whatever the file says of itself."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.common.audio_length import audio_seconds
from tests.fakes.audio import mp3, opus, wav


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (opus(1), 1.0),
        (opus(90), 90.0),
        (opus(1, said="with comments " * 100), 1.0),  # that fill more than one segment
        (opus(1, frame_bytes=600), 1.0),  # packets of three segments
        (opus(1, toc=0x18, frame_bytes=2), 3.0),  # SILK, 60 ms a packet: few bytes may play for long
        (opus(1, toc=0x80 | 3, frame_bytes=2), None),  # says that it has no frames
        (opus(1).replace(b"OpusHead", b"\x01vorbis-"), None),
        (opus(0), None),
        (wav(2.5), 2.5),
        (wav(2, rate=44_100), 2.0),
        (wav(1).replace(b"data", b"dat_"), None),
        (mp3(3), pytest.approx(3, abs=0.03)),
        (mp3(3)[:-400], pytest.approx(3, abs=0.05)),
        (b"fLaC" + bytes(1_000), None),
        (b"", None),
    ],
)
def test_how_long_it_plays(content, seconds):
    assert audio_seconds(content) == seconds


def test_a_length_that_a_file_invents_counts_for_nothing():
    short = opus(60)
    granule = short.rfind(b"OggS") + 6
    assert audio_seconds(short[:granule] + bytes(8) + short[granule + 8 :]) == 60


@given(st.binary(max_size=300), st.sampled_from([b"OggS", b"RIFF", b"ID3", b"\xff\xfb"]))
def test_any_bytes_have_a_length_or_none(content, start):
    seconds = audio_seconds(start + content)
    assert seconds is None or seconds > 0


@pytest.mark.parametrize(
    "content",
    [
        b"OggS" * 2_000_000,
        b"OggS" + b"\0" * 22 + b"\xff" + b"\xff" * 8_000_000,
        b"ID3" + b"\xff\xfb" * 4_000_000,
        b"RIFF" + b"\0" * 8_000_000,
        opus(3_000, frame_bytes=50),
    ],
)
def test_it_is_linear_in_the_file(content):
    began = time.process_time()
    audio_seconds(content)
    assert time.process_time() - began < 10  # some hundred milliseconds; a quadratic one would take minutes
