"""Speech to text in any format: a form with a file, and the words that the sandbox hears in it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from providers.sandbox.billing import BillingLine, shipped_cost
from providers.sandbox.error_texts import Problem, VendorRefusal
from providers.sandbox.exchange import VendorReply, VendorRequest
from providers.sandbox.fake_files import words_in
from providers.sandbox.faults import InjectedFault
from providers.sandbox.vendor_base import Answered, Endpoint, SandboxVendor
from providers.shipped import shipped_route
from providers.types import Category, Operation, Usage

BYTES_PER_SECOND = 2_000


class TranscribingVendor(SandboxVendor):
    """A vendor that turns speech into text. Its paths and fields are declared."""

    transcription_path: ClassVar[str]
    transcription_model_field: ClassVar[str] = "model"

    def transcription_endpoint(self) -> Endpoint:
        return Endpoint("POST", self.transcription_path, self.transcribe, is_submission=True)

    def transcribe(self, request: VendorRequest) -> Answered:
        form = request.form()
        shipped = shipped_route(Category.TEXT, self.slug, Operation.TRANSCRIBE)
        model = _text(form, self.transcription_model_field)
        if not model or "file" not in form:
            raise VendorRefusal(Problem.INVALID, "file and model are required", "file")
        if shipped is None or model != shipped.model:
            raise VendorRefusal(Problem.UNKNOWN_MODEL, model, self.transcription_model_field)
        content = form["file"]
        if not content:
            raise VendorRefusal(Problem.INVALID, "Audio file might be corrupted or unsupported", "file")
        seconds = Decimal(len(content)) / BYTES_PER_SECOND
        usage = Usage(seconds=self.billed_seconds(seconds))
        cost = shipped_cost(Category.TEXT, self.slug, usage, Operation.TRANSCRIBE)
        words = "" if request.fault is InjectedFault.EMPTY else words_in(content)
        body = self.transcript(words, seconds, response_format=_text(form, "response_format"))
        return VendorReply(200, body, self.headers(cost)), BillingLine(self.slug, model, usage=usage, cost=cost)

    def billed_seconds(self, seconds: Decimal) -> Decimal:
        """Return for how long audio of this length is billed."""
        return seconds

    def transcript(self, text: str, seconds: Decimal, *, response_format: str) -> dict[str, Any]:
        """Return the answer with these words. As OpenAI gives it, whose usage says how long the audio is."""
        body: dict[str, Any] = {"text": text, "usage": {"type": "duration", "seconds": float(seconds)}}
        if response_format == "verbose_json":
            body |= {"task": "transcribe", "language": "english", "duration": float(seconds), "segments": []}
        return body


def _text(form: Mapping[str, bytes], name: str) -> str:
    return form.get(name, b"").decode("utf-8", "replace")
