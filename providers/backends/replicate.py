"""Replicate: images, videos and speech as jobs. Source: https://replicate.com/docs/reference/http (read 2026-11)."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from providers.backends.error_mapping import ErrorReply, ErrorRule
from providers.backends.media_generation import (
    JOB_ID,
    POLL_SECONDS,
    JobProvider,
    image_uris,
    job_of,
    outputs_in,
)
from providers.errors import ContentRefused, OutcomeUnknown, Unsupported
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import get_path, json_safe, number_at, text_at, valid_unicode
from providers.transport.redaction import Redactor
from providers.types import Call, Category, Feature, Job, ListedModel, MediaResult, Prompt, UnknownPolicy

# What models call the images in their prompt, by the beginning of their names. Source: their pages (read 2026-11).
IMAGE_FIELDS: Mapping[str, str] = {
    r"google/nano-banana|bytedance/seedream-4": "image_input",
    r"black-forest-labs/flux-2-": "input_images",
    r"black-forest-labs/flux-kontext-": "input_image",
    r"kwaivgi/kling-|luma/ray-": "start_image",
}
LISTS_OF_IMAGES = ("image_input", "input_images")
MAX_PAGES = 5  # of a hundred predictions each, the newest first

REFUSALS = ErrorRule(ContentRefused, text=r"E005|flagged as sensitive|NSFW|safety system")


class ReplicatePrediction(JobProvider):
    """Predictions. There is no idempotency key, so a submission whose answer was lost is looked for in the list."""

    slug = "replicate"
    unknown_policy = UnknownPolicy.ADOPT
    output_hosts = ("replicate.delivery", ".replicate.delivery")  # files are deleted after an hour
    polls_per_second = 48.0  # 3,000 a minute are allowed
    code_paths = (("type",), ("title",))
    rules = (REFUSALS,)
    models_path = "/models/{model}"
    features = frozenset({Feature.IMAGE_INPUT})
    image_types = frozenset({"image/jpeg", "image/png", "image/webp"})
    max_images = 8
    max_image_bytes = 256 * 1024  # as a data URI; the upload of a larger file is a call of its own

    makes: ClassVar[Category]
    prefer: ClassVar[str] = ""  # the header Prefer: how long the response may be held back for a quick result
    cancel_after: ClassVar[str]  # the provider cancels the job itself after this; a little above our own limit

    def build(self, prompt: Prompt) -> Call:
        headers = {"Cancel-After": self.cancel_after, **({"Prefer": self.prefer} if self.prefer else {})}
        body: dict[str, Any] = {"input": self.inputs(prompt)}
        if prompt.callback_url:
            body |= {"webhook": prompt.callback_url, "webhook_events_filter": ["completed"]}
        # "owner/name" is an official model; community models are named with their version, "owner/name:hash".
        if ":" in prompt.model:
            return Call("/predictions", json={"version": prompt.model, **body}, headers=headers)
        return Call(f"/models/{prompt.model}/predictions", json=body, headers=headers)

    def check(self, prompt: Prompt) -> None:
        super().check(prompt)
        if prompt.attachments and not _image_field(prompt.model):
            raise Unsupported(f"nobody knows in which field {prompt.model} takes an image", provider=self.slug)
        if len(prompt.attachments) > 1 and _image_field(prompt.model) not in LISTS_OF_IMAGES:
            raise Unsupported("one image in a prompt", provider=self.slug)

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        """Return the fields of the model's own input schema. A wrong type is a 422."""
        raise NotImplementedError

    def parse_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        outcome, job_id = self.parse_job(prompt, body), text_at(body, "id")
        if isinstance(outcome, MediaResult) and JOB_ID.fullmatch(job_id):
            return replace(outcome, job_id=job_id)
        return outcome

    def has_error(self, body: Mapping[str, Any]) -> bool:
        # A failed prediction is a 200 with a status, and parse_job() knows it; the list has results.
        return "status" not in body and "results" not in body

    def parse_error(self, status: int, body: Mapping[str, Any]) -> ErrorReply:
        detail = body.get("detail")
        return super().parse_error(status, {**body, "message": detail} if isinstance(detail, str) else body)

    def poll_call(self, job_id: str) -> Call:
        return Call(f"/predictions/{quote(job_id, safe='')}", method="GET")

    def cancel_call(self, job_id: str) -> Call:
        return Call(f"/predictions/{quote(job_id, safe='')}/cancel")

    def models_call(self, model: str) -> Call | None:
        return super().models_call(model.partition(":")[0])

    def parse_models(self, body: Any) -> list[ListedModel]:
        owner, name = text_at(body, "owner"), text_at(body, "name")
        return [ListedModel(f"{owner}/{name}")] if owner and name else []

    def parse_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        status = text_at(body, "status")
        if status in ("failed", "canceled", "aborted"):
            # A failed prediction of an official model is not billed.
            raise self.job_failure(prompt, ErrorReply(200, text=text_at(body, "error") or status))
        if status != "succeeded":  # "starting", "processing", and whatever may come: it goes on until our time is up
            return job_of(body.get("id"))
        # A string, a list or an object, as each model likes; with a data URI in the place of a quick file.
        outputs = outputs_in(body.get("output"), self.makes)
        if not outputs:
            raise OutcomeUnknown(f"succeeded without {self.makes.lower()}", ends_job=True)
        metrics = json_safe(body.get("metrics"))
        usage = self.used(prompt)
        usage = replace(
            usage,
            images=usage.images and len(outputs),
            compute_seconds=number_at(metrics, "predict_time"),
            raw=metrics if isinstance(metrics, dict) else {},
        )
        model = valid_unicode(text_at(body, "model"))
        return MediaResult(url=outputs[0], usage=usage, model=model)

    def find_jobs(self, prompt: Prompt, *, since: datetime, deadline: Deadline) -> list[Job]:
        redactor = Redactor(self.access.key, prompt)
        sent = replace(prompt, text=prompt.text.encode("utf-8", "replace").decode())
        wanted = _without_images(self.inputs(sent))
        found: list[Job] = []
        path = "/predictions"
        for _ in range(MAX_PAGES):
            call = Call(path, method="GET")
            with self.exchange(call, redactor, timeout_seconds=POLL_SECONDS, deadline=deadline) as response:
                page = self.checked_object(response, redactor)
            listed = page.get("results")
            recent = [entry for entry in listed if _is_since(entry, since)] if isinstance(listed, list) else []
            found += [
                job_of(get_path(entry, "id")) for entry in recent if _without_images(get_path(entry, "input")) == wanted
            ]
            cursor = parse_qs(urlsplit(text_at(page, "next")).query).get("cursor")
            if not recent or not cursor:
                break
            # Only the cursor is taken from the link: the key goes nowhere but to the provider's own address.
            path = f"/predictions?{urlencode({'cursor': cursor[0]})}"
        return found


def _image_field(model: str) -> str:
    """Return what a model calls the images in its prompt, "" where it takes none."""
    return next((field for pattern, field in IMAGE_FIELDS.items() if re.match(pattern, model)), "")


def _images_in(prompt: Prompt) -> dict[str, Any]:
    if not prompt.attachments:
        return {}
    field, uris = _image_field(prompt.model), image_uris(prompt)
    return {field: uris if field in LISTS_OF_IMAGES else uris[0]}


def _without_images(inputs: Any) -> Any:
    """Return a model's input without its images, which the provider may keep under addresses of its own."""
    if not isinstance(inputs, Mapping):
        return inputs
    return {name: value for name, value in inputs.items() if name not in IMAGE_FIELDS.values()}


def _is_since(entry: Any, since: datetime) -> bool:
    created_at = _moment(text_at(entry, "created_at"))
    return created_at is not None and created_at >= since


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


class ReplicateImage(ReplicatePrediction):
    """Flux. Source: https://replicate.com/black-forest-labs/flux-schnell/api/schema (read 2026-11)."""

    makes = Category.IMAGE
    default_aspect_ratio = "1:1"
    first_poll_seconds = 1.0
    max_poll_seconds = 5.0
    prefer = "wait=10"
    cancel_after = "3m"

    option_fields = {"negative_prompt": "negative_prompt", "seed": "seed"}

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        ratio = prompt.output_options.aspect_ratio or ("match_input_image" if prompt.attachments else "1:1")
        return {
            "prompt": prompt.text,
            "aspect_ratio": ratio,
            "output_format": "png",
            **self.options_of(prompt),
            **_images_in(prompt),
        }


class ReplicateVideo(ReplicatePrediction):
    """Kling and Luma. `duration` is an integer here; other hosts take a string.

    Source: https://replicate.com/kwaivgi/kling-v3-video/api/schema, …/luma/ray-3.2/api/schema (read 2026-11).
    """

    makes = Category.VIDEO
    default_aspect_ratio = "16:9"
    first_poll_seconds = 10.0
    max_poll_seconds = 10.0
    cancel_after = "20m"
    option_fields = {"negative_prompt": "negative_prompt"}

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        is_luma = prompt.model.startswith("luma/")
        return {
            "prompt": prompt.text,
            "duration": self.seconds_of(prompt),
            "aspect_ratio": self.aspect_ratio_of(prompt),
            **({"resolution": "540p"} if is_luma else {"mode": "standard"}),
            **self.options_of(prompt),
            **_images_in(prompt),
        }


class ReplicateAudio(ReplicatePrediction):
    """MiniMax speech; also Bark and music models, which want a prompt instead of a text.

    Music: "minimax/music-2.6", "google/lyria-3". Community models are named with the version that their page shows:
    "suno-ai/bark:VERSION" speaks, "meta/musicgen:VERSION" plays.
    Source: https://replicate.com/minimax/speech-2.6-turbo/api/schema (read 2026-11).
    """

    makes = Category.AUDIO
    first_poll_seconds = 1.0
    max_poll_seconds = 5.0
    prefer = "wait=10"
    cancel_after = "6m"

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        if "/speech-" not in prompt.model:
            return {"prompt": prompt.text}
        return {
            "text": prompt.text,
            **({"voice_id": prompt.output_options.voice} if prompt.output_options.voice else {}),
        }
