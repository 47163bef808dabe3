"""What Replicate's models take and in which form they answer, as their pages tell (read 2026-11)."""

from collections.abc import Mapping
from dataclasses import dataclass

from providers.sandbox.field_rules import PROMPT, TEXT, Field
from providers.types import Category


@dataclass(frozen=True, slots=True)
class Model:
    """One model: how it is ordered, and the form of what it makes."""

    category: Category
    fields: Mapping[str, Field]
    shape: str = "string"
    version: str = ""  # of a community model, which is ordered by it


FLUX_RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
FLUX = Model(
    Category.IMAGE,
    {
        "prompt": PROMPT,
        "aspect_ratio": Field(str, FLUX_RATIOS),
        "num_outputs": Field(int, (1, 2, 3, 4)),
        "output_format": Field(str, ("png", "jpg", "webp")),
        "output_quality": Field(int, tuple(range(101))),
        "seed": Field(int),
    },
    shape="list",
)
KLING = Model(
    Category.VIDEO,
    {
        "prompt": PROMPT,
        "negative_prompt": TEXT,
        "start_image": TEXT,
        "end_image": TEXT,
        "duration": Field(int, tuple(range(3, 16))),
        "aspect_ratio": Field(str, ("16:9", "9:16", "1:1")),
        "mode": Field(str, ("standard", "pro", "4k")),
        "generate_audio": Field(bool),
    },
)
LUMA = Model(
    Category.VIDEO,
    {
        "prompt": PROMPT,
        "start_image": TEXT,
        "end_image": TEXT,
        "duration": Field(int, (5, 10)),
        "resolution": Field(str, ("540p", "720p", "1080p")),
        "aspect_ratio": Field(str, ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21")),
        "loop": Field(bool),
    },
)
SPEECH = Model(Category.AUDIO, {"text": PROMPT, "voice_id": TEXT, "emotion": TEXT, "language_boost": TEXT})
MUSIC = Model(Category.AUDIO, {"prompt": PROMPT, "lyrics": TEXT, "is_instrumental": Field(bool)})
BARK = Model(
    Category.AUDIO,
    {"prompt": PROMPT, "history_prompt": TEXT},
    shape="audio_out",
    version="b76242b40d67c76ab6742e987628a2a9ac019e11d56ab96c4e91ce03b79b2787",
)
MUSICGEN = Model(
    Category.AUDIO,
    {"prompt": PROMPT, "duration": Field(int), "output_format": Field(str, ("wav", "mp3"))},
    version="671ac645ce5e552cc63a54a2bbff63fcf798043055d2dac5fc9e36a837eedcfb",
)
MODELS: Mapping[str, Model] = {
    "black-forest-labs/flux-schnell": FLUX,
    "black-forest-labs/flux-dev": FLUX,
    "kwaivgi/kling-v3-video": KLING,
    "luma/ray-3.2": LUMA,
    "minimax/speech-2.6-turbo": SPEECH,
    "minimax/music-2.6": MUSIC,
    "google/lyria-3": MUSIC,
    "suno-ai/bark": BARK,
    "meta/musicgen": MUSICGEN,
}
