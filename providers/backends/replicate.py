"""Replicate: pictures, films and speech as jobs. Source: https://replicate.com/docs/reference/http (read 2026-11)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.utils.dateparse import parse_datetime

from providers.bodies import dig, storable, text_at
from providers.errors import ContentRefused, OutcomeUnknown, ProviderError, ServerFault
from providers.excerpts import Quoting
from providers.faults import Fault, Rule
from providers.making import POLL_SECONDS, JobProvider
from providers.types import Call, Job, Listed, MediaResult, Prompt, UnknownPolicy, Usage

REFUSALS = Rule(ContentRefused, text=r"E005|flagged as sensitive|NSFW|safety system")


class Replicate(JobProvider):
    """Predictions. There is no idempotency key, so an order whose answer was lost is looked for in the list."""

    slug = "replicate"
    unknown_policy = UnknownPolicy.ADOPT
    output_hosts = ("replicate.delivery", ".replicate.delivery")  # files are deleted after an hour
    polls_per_second = 40.0  # 3,000 a minute are allowed
    code_paths = (("type",), ("title",))
    models_path = "/models/{model}"

    hold: ClassVar[str] = ""  # how long the order may be held for a quick result, as the header Prefer says it
    give_up_after: ClassVar[str]  # the vendor stops the job itself after this; a little above our own limit

    def build(self, prompt: Prompt) -> Call:
        headers = {"Cancel-After": self.give_up_after, **({"Prefer": self.hold} if self.hold else {})}
        # "owner/name" is an official model; community models are named with their version, "owner/name:hash".
        if ":" in prompt.model:
            return Call("/predictions", json={"version": prompt.model, "input": self.inputs(prompt)}, headers=headers)
        return Call(f"/models/{prompt.model}/predictions", json={"input": self.inputs(prompt)}, headers=headers)

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        """Return the fields of the model's own input schema. A wrong type is a 422."""
        raise NotImplementedError

    def used(self, prompt: Prompt, outputs: int) -> Usage:
        """Return what a finished job used; the answer holds no money."""
        raise NotImplementedError

    def read_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        return self.read_job(prompt, body)

    def fault_in(self, body: Mapping[str, Any]) -> bool:
        return "status" not in body  # a failed prediction is a 200 with a status, and read_job() knows it

    def poll_call(self, job_id: str) -> Call:
        return Call(f"/predictions/{job_id}", method="GET")

    def cancel_call(self, job_id: str) -> Call:
        return Call(f"/predictions/{job_id}/cancel")

    def models_call(self, model: str) -> Call | None:
        return super().models_call(model.partition(":")[0])

    def read_models(self, body: Any) -> list[Listed]:
        owner, name = text_at(body, "owner"), text_at(body, "name")
        return [Listed(f"{owner}/{name}")] if owner and name else []

    def read_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        status = text_at(body, "status")
        if status in ("failed", "canceled", "aborted"):
            raise _ended(body, status)
        if status != "succeeded":  # "starting", "processing", and whatever may come: it goes on until our time is up
            job_id = text_at(body, "id")
            if not job_id:
                raise OutcomeUnknown("a prediction without an id")
            return Job(job_id)
        urls = _urls_in(body.get("output"))
        if not urls:
            error = OutcomeUnknown("succeeded without an output")
            error.ends_job = True
            raise error
        metrics = storable(body.get("metrics"))
        usage = replace(self.used(prompt, len(urls)), raw=metrics if isinstance(metrics, dict) else {})
        return MediaResult(url=urls[0], usage=usage, model=text_at(body, "model"))

    def find(self, prompt: Prompt, *, since: datetime, deadline: float) -> Job | None:
        quoting = Quoting(self.access.key, prompt)
        wanted = self.inputs(prompt)
        call = Call("/predictions", method="GET")
        with self.exchange(call, quoting, timeout_seconds=POLL_SECONDS, deadline=deadline) as answer:
            listed = dig(self._object_in(answer, quoting), "results")
        for prediction in listed if isinstance(listed, list) else []:
            created_at = parse_datetime(text_at(prediction, "created_at"))
            is_ours = dig(prediction, "input") == wanted and created_at is not None and created_at >= since
            if is_ours and text_at(prediction, "id"):
                return Job(text_at(prediction, "id"))
        return None


def _ended(body: Mapping[str, Any], status: str) -> ProviderError:
    """Return why a job has ended without an output. A failed prediction of an official model is not billed."""
    words = text_at(body, "error") or status
    error = ContentRefused(words) if REFUSALS.fits(Fault(200, text=words)) else ServerFault(words)
    error.ends_job = True
    return error


def _urls_in(output: Any) -> list[str]:
    """Return the addresses in an output, which is a string, a list or an object, as each model likes."""
    if isinstance(output, str):
        return [output] if output.startswith(("https://", "http://")) else []
    if isinstance(output, Mapping):
        output = list(output.values())
    return [url for item in output for url in _urls_in(item)] if isinstance(output, list) else []


class ReplicateImage(Replicate):
    """Flux. Source: https://replicate.com/black-forest-labs/flux-schnell/api/schema (read 2026-11)."""

    first_poll_seconds = 1.0
    longest_poll_seconds = 5.0
    hold = "wait=10"
    give_up_after = "3m"

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "prompt": prompt.text,
            "aspect_ratio": prompt.wishes.aspect_ratio or "1:1",
            "output_format": "png",
        }

    def used(self, prompt: Prompt, outputs: int) -> Usage:
        return Usage(images=outputs)


class ReplicateVideo(Replicate):
    """Kling and Luma. `duration` is an integer here; other hosts take a string.

    Source: https://replicate.com/kwaivgi/kling-v3-video/api/schema, …/luma/ray-3.2/api/schema (read 2026-11).
    """

    first_poll_seconds = 10.0
    give_up_after = "20m"

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        is_luma = prompt.model.startswith("luma/")
        return {
            "prompt": prompt.text,
            "duration": _film_seconds(prompt),
            "aspect_ratio": prompt.wishes.aspect_ratio or "16:9",
            **({"resolution": "540p"} if is_luma else {"mode": "standard"}),
        }

    def used(self, prompt: Prompt, outputs: int) -> Usage:
        return Usage(seconds=Decimal(_film_seconds(prompt)))


def _film_seconds(prompt: Prompt) -> int:
    return prompt.wishes.seconds or 5


class ReplicateAudio(Replicate):
    """MiniMax speech; also Bark and music models, which want a prompt instead of a text.

    Source: https://replicate.com/minimax/speech-2.6-turbo/api/schema (read 2026-11).
    """

    first_poll_seconds = 1.0
    longest_poll_seconds = 5.0
    hold = "wait=10"
    give_up_after = "6m"

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        if "/speech-" not in prompt.model:
            return {"prompt": prompt.text}
        return {"text": prompt.text, **({"voice_id": prompt.wishes.voice} if prompt.wishes.voice else {})}

    def used(self, prompt: Prompt, outputs: int) -> Usage:
        return Usage(characters=len(prompt.text))
