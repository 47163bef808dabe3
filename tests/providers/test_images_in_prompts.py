"""Images from images and films from images, and the further options of both, as each provider takes them."""

import base64
import io
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image

from providers.backends.media_generation import nearest_ratio
from providers.errors import Unsupported
from providers.pricing import cost_of
from providers.registry import PROVIDERS, provider_class
from providers.sandbox import running_sandbox
from providers.transport.deadlines import Deadline
from providers.types import Access, Attachment, Category, Job, MediaResult, Operation, OutputOptions, Prompt, Usage
from tests.contracts.openapi import contract_of


def picture(width: int = 40, height: int = 30, *, orientation: int = 1, kind: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


IMAGE = Attachment("image/png", picture())
URI = f"data:image/png;base64,{base64.b64encode(IMAGE.content).decode()}"
URL = {"type": "image_url", "image_url": {"url": URI}}


def call(slug: str, category: Category, model: str, *images: Attachment, **options: Any) -> tuple[str, Any]:
    """Return the path and the body of a call."""
    provider = provider_class(category, slug)(Access("key", "http://127.0.0.1:1"))
    prompt = Prompt(
        category,
        "Make it winter",
        model=model,
        attachments=images,
        operation=Operation.EDIT if images else Operation.GENERATE,
        output_options=OutputOptions(**options),
    )
    provider.check(prompt)
    built = provider.build(prompt)
    return built.path, built.json[0] if isinstance(built.json, list) else built.json


@pytest.mark.parametrize(
    ("slug", "model", "path", "fields"),
    [
        ("openai", "gpt-image-2.6-flare", "/images/edits", {"images": [{"image_url": URI}], "size": "1536x1024"}),
        ("xai", "grok-imagine-image", "/images/edits", {"image": {"url": URI}}),
        ("openrouter", "bytedance-seed/seedream-4.5", "/images", {"input_references": [URL]}),
        (
            "replicate",
            "google/nano-banana",
            "/models/google/nano-banana/predictions",
            {"input": {"image_input": [URI], "aspect_ratio": "match_input_image"}},
        ),
        (
            "replicate",
            "black-forest-labs/flux-2-pro",
            "/models/black-forest-labs/flux-2-pro/predictions",
            {"input": {"input_images": [URI]}},
        ),
        (
            "replicate",
            "black-forest-labs/flux-kontext-pro",
            "/models/black-forest-labs/flux-kontext-pro/predictions",
            {"input": {"input_image": URI}},
        ),
        ("aimlapi", "google/nano-banana-edit", "/v1/images/generations", {"image_urls": [URI]}),
        ("aimlapi", "flux/kontext-pro/image-to-image", "/v1/images/generations", {"image_url": URI}),
        ("runware", "runware:400@1", "", {"inputs": {"referenceImages": [URI]}, "width": 1152, "height": 896}),
    ],
)
def test_an_image_is_made_from_an_image(slug: str, model: str, path: str, fields: dict[str, Any]) -> None:
    called, body = call(slug, Category.IMAGE, model, IMAGE)

    assert called == path
    assert contains(body, fields), body


@pytest.mark.parametrize(
    ("slug", "model", "fields"),
    [
        ("replicate", "kwaivgi/kling-v3-video", {"input": {"start_image": URI}}),
        ("aimlapi", "klingai/video-v3-standard-turbo-image-to-video", {"image_url": URI, "duration": 5}),
        ("runware", "klingai:5@3", {"inputs": {"frameImages": [{"image": URI, "frame": "first"}]}}),
    ],
)
def test_a_film_begins_with_an_image(slug: str, model: str, fields: dict[str, Any]) -> None:
    _, body = call(slug, Category.VIDEO, model, IMAGE)
    assert contains(body, fields), body


@pytest.mark.parametrize(
    ("slug", "category", "model", "options", "fields"),
    [
        ("openai", Category.IMAGE, "gpt-image-2.6-flare", {"quality": "high"}, {"quality": "high"}),
        (
            "openrouter",
            Category.IMAGE,
            "bytedance-seed/seedream-4.5",
            {"quality": "low", "seed": 7},
            {"quality": "low", "seed": 7},
        ),
        ("replicate", Category.IMAGE, "black-forest-labs/flux-schnell", {"seed": 0}, {"input": {"seed": 0}}),
        (
            "replicate",
            Category.VIDEO,
            "kwaivgi/kling-v3-video",
            {"negative_prompt": "blur"},
            {"input": {"negative_prompt": "blur"}},
        ),
        ("aimlapi", Category.IMAGE, "flux/schnell", {"seed": 7}, {"seed": 7}),
        (
            "aimlapi",
            Category.VIDEO,
            "klingai/video-v3-pro-text-to-video",
            {"negative_prompt": "blur"},
            {"negative_prompt": "blur"},
        ),
        (
            "runware",
            Category.IMAGE,
            "runware:400@1",
            {"negative_prompt": "blur", "seed": 7},
            {"negativePrompt": "blur", "seed": 7},
        ),
        ("runware", Category.VIDEO, "klingai:5@3", {"negative_prompt": "blur"}, {"negativePrompt": "blur"}),
        ("piapi", Category.VIDEO, "kling", {"negative_prompt": "blur"}, {"input": {"negative_prompt": "blur"}}),
        ("elevenlabs", Category.AUDIO, "eleven_v4_turbo", {"seed": 7}, {"seed": 7}),
    ],
)
def test_the_further_options(slug: str, category: Category, model: str, options: Any, fields: Any) -> None:
    _, body = call(slug, category, model, **options)
    assert contains(body, fields), body


@pytest.mark.parametrize(
    ("slug", "category", "options"),
    [
        ("openai", Category.IMAGE, {"seed": 7}),
        ("openai", Category.IMAGE, {"negative_prompt": "blur"}),
        ("xai", Category.IMAGE, {"quality": "high"}),
        ("kie", Category.VIDEO, {"negative_prompt": "blur"}),
        ("replicate", Category.VIDEO, {"seed": 7}),
        ("openrouter", Category.AUDIO, {"seed": 7}),
    ],
)
def test_what_a_provider_does_not_take_is_refused_before_anything_is_sent(
    slug: str, category: Category, options: dict[str, Any]
) -> None:
    with pytest.raises(Unsupported):
        call(slug, category, "a-model", **options)


@pytest.mark.parametrize(
    ("slug", "category", "model", "images"),
    [
        ("xai", Category.IMAGE, "grok-imagine-image", (IMAGE,) * 4),
        ("openai", Category.IMAGE, "gpt-image-2.6-flare", (Attachment("image/gif", b"GIF89a"),)),
        ("replicate", Category.IMAGE, "black-forest-labs/flux-schnell", (IMAGE,)),
        ("replicate", Category.VIDEO, "kwaivgi/kling-v3-video", (IMAGE, IMAGE)),
        ("replicate", Category.VIDEO, "kwaivgi/kling-v3-video", (Attachment("image/png", bytes(262_145)),)),
        ("piapi", Category.VIDEO, "kling", (IMAGE,)),
        ("kie", Category.IMAGE, "nano-banana-2", (IMAGE,)),
        ("elevenlabs", Category.AUDIO, "eleven_v4_turbo", (IMAGE,)),
    ],
)
def test_images_that_a_provider_does_not_take(slug: str, category: Category, model: str, images: Any) -> None:
    with pytest.raises(Unsupported):
        call(slug, category, model, *images)


def test_several_images() -> None:
    _, body = call("xai", Category.IMAGE, "grok-imagine-image", IMAGE, IMAGE)
    assert body["images"] == [{"url": URI}, {"url": URI}]
    assert "image" not in body


def test_the_documents_of_replicate_and_openrouter_take_them() -> None:
    path, body = call("openrouter", Category.IMAGE, "bytedance-seed/seedream-4.5", IMAGE, seed=7)
    assert path == "/images"
    _, body = call("replicate", Category.VIDEO, "kwaivgi/kling-v3-video", IMAGE, negative_prompt="blur")
    described = "/models/{model_owner}/{model_name}/predictions"
    assert contract_of("replicate").request_errors("POST", described, body) == []


@pytest.mark.parametrize(
    ("size", "orientation", "nearest"),
    [((40, 30), 1, "3:2"), ((30, 40), 1, "2:3"), ((40, 40), 1, "1:1"), ((4000, 10), 1, "3:2"), ((40, 30), 6, "2:3")],
)
def test_an_output_is_as_wide_as_the_image_is_seen(size: tuple[int, int], orientation: int, nearest: str) -> None:
    assert nearest_ratio(picture(*size, orientation=orientation, kind="JPEG"), ("1:1", "3:2", "2:3")) == nearest


def test_what_is_no_image_has_no_ratio() -> None:
    assert nearest_ratio(b"MZ", ("1:1", "3:2")) == ""


@pytest.mark.parametrize(
    ("slug", "category", "model"),
    [
        ("openai", Category.IMAGE, "gpt-image-2.6-flare"),
        ("xai", Category.IMAGE, "grok-imagine-image"),
        ("openrouter", Category.IMAGE, "bytedance-seed/seedream-4.5"),
        ("runware", Category.IMAGE, "runware:400@1"),
        ("replicate", Category.VIDEO, "kwaivgi/kling-v3-video"),
        ("aimlapi", Category.VIDEO, "klingai/video-v3-standard-turbo-image-to-video"),
        ("runware", Category.VIDEO, "klingai:5@3"),
    ],
)
def test_the_sandbox_takes_them(slug: str, category: Category, model: str) -> None:
    with running_sandbox(video_seconds=0) as sandbox:
        access = Access(f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{PROVIDERS[slug].base_path}")
        provider = provider_class(category, slug)(access)
        prompt = Prompt(category, "Make it winter", model=model, attachments=(IMAGE,), operation=Operation.EDIT)
        result = provider.run(prompt, timeout_seconds=10, deadline=Deadline.after(10))
        (line,) = sandbox.billing.as_list()

    assert isinstance(result, MediaResult | Job)
    assert line["billed"] or isinstance(result, Job)


class TestCost:
    def test_openai_bills_the_image_that_goes_in_at_a_rate_of_its_own(self) -> None:
        provider: Any = provider_class(Category.IMAGE, "openai")(Access("key", "http://127.0.0.1:1"))
        details = {"text_tokens": 10, "image_tokens": 900}
        usage = provider.parse_usage(
            {"usage": {"input_tokens": 910, "output_tokens": 439, "input_tokens_details": details}}
        )
        assert (usage.input_tokens, usage.image_tokens, usage.all_input_tokens) == (10, 900, 910)

    def test_xai_bills_what_goes_in_as_well(self) -> None:
        provider: Any = provider_class(Category.IMAGE, "xai")(Access("key", "http://127.0.0.1:1"))
        prompt = Prompt(Category.IMAGE, "x", attachments=(IMAGE, IMAGE))
        assert provider.used_at_most(prompt) == Usage(images=3)

    def test_image_tokens_have_a_rate(self) -> None:
        usage = Usage(images=1, input_tokens=1_000, image_tokens=1_000, output_tokens=0)
        prices = {"input_per_million": "5", "output_per_million": "30"}
        known = {"list_price": None, "price_unit": "image"}
        assert cost_of(usage, prices={**prices, "image_input_per_million": "8"}, **known)[0] == Decimal("0.013")
        assert cost_of(usage, prices=prices, **known)[0] == Decimal("0.01")


def contains(whole: Any, part: Any) -> bool:
    """Return whether all that is in `part` is in `whole`."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(contains(whole.get(name), value) for name, value in part.items())
    return bool(whole == part)
