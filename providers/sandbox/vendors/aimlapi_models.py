"""What AIMLAPI's models take, as its documents tell (read 2026-11), and what they cost here.

Whoever pays reads the prices from the vendor's list of models; the ones here are invented.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from providers.sandbox.field_rules import ANYTHING, PROMPT, TEXT, Field


@dataclass(frozen=True, slots=True)
class Model:
    """One model: what it takes, and its price in credits for a picture, a second or a character."""

    kind: str  # as the list of models calls it
    credits: int
    fields: Mapping[str, Field]
    sides: range = range(0)  # what a picture's width and height may be


MODEL = Field(str, is_required=True)
SWITCH = Field(bool)
ONLY_WHOLE = Field(bool, (False,))  # such a model does not stream
PICTURE = {
    "model": MODEL,
    "prompt": Field(str, is_required=True, longest=4000),
    "image_size": ANYTHING,  # a name or two numbers: it is looked at apart
    "num_images": Field(float, (1, 2, 3, 4)),
    "enable_safety_checker": SWITCH,
    "seed": Field(int),
}
PICTURES: Mapping[str, Model] = {
    "flux/schnell": Model("image", 7_800, PICTURE | {"num_inference_steps": Field(int, range(1, 13))}, range(64, 1537)),
    "flux/dev": Model(
        "image",
        65_000,
        PICTURE | {"num_inference_steps": Field(int, range(1, 51)), "guidance_scale": Field(float)},
        range(512, 1537),
    ),
    "blackforestlabs/flux-2": Model(
        "image",
        31_200,
        {
            **PICTURE,
            "num_inference_steps": Field(int, range(4, 51)),
            "guidance_scale": Field(float),
            "output_format": Field(str, ("jpeg", "png", "webp")),
            "enable_prompt_expansion": SWITCH,
            "acceleration": Field(str, ("none", "regular", "high")),
        },
        range(512, 2049),
    ),
}
FILMS: Mapping[str, Model] = {
    "klingai/video-v3-standard-turbo-text-to-video": Model(
        "video",
        218_400,
        {
            "model": MODEL,
            "prompt": Field(str, is_required=True, longest=3072),
            "multi_prompt": Field(list),
            "duration": Field(int, range(3, 16)),
            "aspect_ratio": Field(str, ("16:9", "9:16", "1:1")),
        },
    ),
    "luma/ray-3.2": Model(
        "video",
        78_000,
        {
            "model": MODEL,
            "prompt": PROMPT,
            "type": Field(str, ("video", "video_edit", "video_reframe")),
            "duration": Field(int, (5, 10)),
            "resolution": Field(str, ("360p", "540p", "720p", "1080p")),
            "aspect_ratio": Field(str, ("9:16", "3:4", "1:1", "4:3", "16:9", "21:9")),
            "image_url": TEXT,
            "last_image_url": TEXT,
            "video_url": TEXT,
            "loop": SWITCH,
            "hdr": SWITCH,
            "exr_export": SWITCH,
        },
    ),
}
MUSIC: Mapping[str, Model] = {
    "elevenlabs/eleven_music": Model(
        "audio",
        6_000,
        {
            "model": MODEL,
            "prompt": Field(str, is_required=True, longest=2000),
            "music_length_ms": Field(int, range(10_000, 300_001)),
        },
    ),
    "minimax/music-2.6": Model(
        "audio",
        4_000,
        {
            "model": MODEL,
            "prompt": Field(str, is_required=True, longest=2000),
            "lyrics": Field(str, longest=3000),
            "audio_setting": Field(dict),
            "lyrics_optimizer": SWITCH,
            "is_instrumental": SWITCH,
        },
    ),
}
# The sandbox keeps two sounds, an MP3 and a WAV: other formats are not offered here.
SPEECH: Mapping[str, Model] = {
    "inworld/tts-1-5-mini": Model(
        "tts",
        13,
        {
            "model": MODEL,
            "text": Field(str, is_required=True, shortest=1, longest=500_000),
            "format": Field(str, ("wav", "mp3")),
            "voice": Field(
                str, ("Alex", "Ashley", "Deborah", "Dennis", "Mark", "Olivia", "Sarah", "Timothy", "Ronald", "Wendy")
            ),
            "stream": ONLY_WHOLE,
        },
    ),
    "elevenlabs/eleven_multilingual_v2": Model(
        "tts",
        260,
        {
            "model": MODEL,
            "text": PROMPT,
            "previous_text": TEXT,
            "next_text": TEXT,
            "output_format": Field(str, ("mp3_22050_32", "mp3_44100_64", "mp3_44100_128")),
            "voice": Field(str, ("Rachel", "Sarah", "George", "Laura", "Charlie", "Liam")),
            "voice_settings": Field(dict),
            "apply_text_normalization": Field(str, ("auto", "on", "off")),
            "seed": Field(int),
            "stream": SWITCH,
        },
    ),
    "minimax/speech-2.8-turbo": Model(
        "tts",
        156,
        {
            "model": MODEL,
            "text": Field(str, is_required=True, shortest=1, longest=5000),
            "audio_setting": Field(dict),
            "voice_setting": Field(dict),
            "voice_modify": Field(dict),
            "timbre_weights": Field(list),
            "pronunciation_dict": Field(dict),
            "language_boost": TEXT,
            "subtitle_enable": SWITCH,
            "stream": ONLY_WHOLE,
        },
    ),
}
