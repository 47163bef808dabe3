"""`manage.py ask`: send a prompt down the chain from the command line, without a worker or a chat."""

import json
import logging
import sys
import time
import uuid
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError

from providers.models import Attempt
from providers.types import Category
from requests_app.errors import InsufficientCredits, RequestRefused, UnknownCategory, UnknownModel
from requests_app.models import Account, AIModel, Request
from requests_app.selectors import credits_at_most, offered_models
from requests_app.services.accounts import account_ensure, account_top_up
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept

CLI_ACCOUNT_KEY = "cli"  # the account of whoever uses the command line; it is topped up when it runs out
CLI_TOP_UP_CREDITS = 1000

FAILURES = {
    "ALL_PROVIDERS_FAILED": "Every provider failed",
    "NO_PROVIDER": "No provider can serve this: set a provider's key in .env, enable its route in the admin, or see "
    "above why routes were skipped",
    "CONTENT_REFUSED": "The providers refused the content of this prompt",
    "DEADLINE": "No provider answered in time",
    "PAYMENT_UNCERTAIN": "A call was cut off and may have been billed, so no other provider was called",
    "NOTHING_HEARD": "There are no words in the audio",
    "STORAGE_FAILED": "The output arrived but could not be stored (the log says why), so no other provider was called",
    "CANCELLED": "The request was cancelled",
}


class Command(BaseCommand):
    help = "Send a prompt down a category's chain; print each provider that is tried, and the answer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("category", help=", ".join(Category))
        parser.add_argument("prompt", help="What to ask.")
        parser.add_argument("--model", default="", help="The slug of an AI model; by default the category's first.")
        parser.add_argument("--account", default=CLI_ACCOUNT_KEY, help="The key of the account that pays.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object and nothing else.")

    def handle(self, *args: Any, category: str, prompt: str, **options: Any) -> None:
        as_json = options["json"]
        trail = None if as_json else _print_trail(self.stdout)
        try:
            model = _model_for(category, options["model"])
            request = request_accept(
                intake_key=f"cli:{uuid.uuid4()}",
                account=_account_for(options["account"], credits_at_most(model, prompt)),
                model=model,
                text=prompt,
                wakes_worker=False,
            )
            if request.status == Request.Status.REJECTED:
                raise InsufficientCredits(
                    f"Account {options['account']} has fewer than the {request.credits} credits that this may cost "
                    f"with {model.name}. Add some in the admin."
                )
        except RequestRefused as error:
            raise CommandError(str(error)) from error
        _advance_until_ended(request, self.stderr if not as_json and self.stderr.isatty() else None)
        if as_json:
            self.stdout.write(json.dumps(_as_dict(request), ensure_ascii=False))
        if request.status != Request.Status.COMPLETED:
            reason = FAILURES.get(request.error_code, f"The request ended as {request.status}")
            raise CommandError(f"{reason}; the credits are given back. {request.id}")
        if trail:
            trail.print_outcome(request)
            self.stdout.write(f"\n{_output(request)}\n\n{_summary(request)}")


class TrailHandler(logging.StreamHandler[Any]):
    """Prints the chain's log lines on stdout, without times and levels."""

    last_line = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last_line = record.getMessage()
        super().emit(record)

    def print_outcome(self, request: Request) -> None:
        """Print the last two lines where a worker, woken by a provider's callback, has finished a long job."""
        outcome = f"Request {request.id} served by provider: {request.actual_provider}"
        if self.last_line != outcome:
            self.stream.write(f"✓ {request.actual_provider} succeeded for {request.category}\n{outcome}\n")


def _print_trail(stdout: Any) -> TrailHandler:
    trail = TrailHandler(stdout)
    trail.setFormatter(logging.Formatter("%(message)s"))
    chain = logging.getLogger("providers")
    chain.addHandler(trail)
    # On a terminal each line would appear twice; a redirected stderr keeps the complete log.
    chain.propagate = not sys.stderr.isatty()
    return trail


def _model_for(category: str, slug: str) -> AIModel:
    if category.upper() not in Category.__members__:
        raise UnknownCategory(f"Unknown category {category!r}. Choose one of {', '.join(Category)}.")
    models = AIModel.objects.filter(category=category.upper(), enabled=True)
    # One that can be served; else the first, whose failure says why.
    offered = (model for model in offered_models() if model.category == category.upper())
    model = models.filter(slug=slug).first() if slug else next(offered, None) or models.first()
    if model is None:
        known = ", ".join(models.values_list("slug", flat=True)) or "none; enable one in the admin"
        raise UnknownModel(f"Unknown model {slug!r} for {category.upper()}. Available: {known}.")
    return model


def _account_for(key: str, price: int) -> Account:
    if key != CLI_ACCOUNT_KEY:
        account = Account.objects.filter(key=key).first()
        if account is None:
            raise RequestRefused(f"There is no account {key!r}.")
        return account
    account = account_ensure(key=CLI_ACCOUNT_KEY, name="Command line")
    if account.balance < price:
        account_top_up(account_id=account.pk, amount=CLI_TOP_UP_CREDITS + price, actor=CLI_ACCOUNT_KEY, reason="ask")
        account.refresh_from_db()
    return account


def _advance_until_ended(request: Request, terminal: Any) -> None:
    """Execute the request here, or wait for a worker that the sweeper has woken for it in the meantime.

    A terminal shows the seconds that pass while a long job runs.
    """
    request_advance(request_id=request.id)
    started_at = time.monotonic()
    timeout_seconds = settings.DEADLINE_SECONDS[request.category] + settings.LEASE_SECONDS
    request.refresh_from_db()
    while request.status in Request.OPEN and time.monotonic() - started_at < timeout_seconds:
        if terminal:
            terminal.write(f"\r… {time.monotonic() - started_at:.0f} s", ending="")
        time.sleep(0.2)
        request_advance(request_id=request.id)
        request.refresh_from_db()
    if terminal:
        terminal.write("\r          \r", ending="")


def _output(request: Request) -> str:
    """Return the answer's text, or the path or URL of its file."""
    return request.output_text or "\n".join(_location_of(stored["name"]) for stored in request.output_media)


def _location_of(name: str) -> str:
    try:
        return default_storage.path(name)
    except NotImplementedError:  # the storage is not on this machine
        return default_storage.url(name)


def _result(request: Request) -> dict[str, str]:
    """Return the answer in the shape that all categories share: {text} | {imageUrl} | {videoUrl} | {audioUrl}."""
    if request.output_text:
        return {"text": request.output_text}
    return {f"{request.category.lower()}Url": request.output_url} if request.output_url else {}


def _summary(request: Request) -> str:
    cost = "cost unknown" if request.cost is None else f"${request.cost.normalize():f} ({request.cost_source})"
    summary = [str(request.actual_provider), f"{request.processing_ms} ms", cost, request.id]
    if settings.SANDBOX_ACTIVE:
        summary.append("a made-up answer from the sandbox, because no provider's key is set")
    return " · ".join(summary)


def _as_dict(request: Request) -> dict[str, Any]:
    return {
        "id": request.id,
        "category": request.category,
        "status": request.status,
        "provider": request.actual_provider,
        "result": _result(request),
        "cost": _number(request.cost),
        "cost_source": request.cost_source,
        "processing_ms": request.processing_ms,
        "error_code": request.error_code,
        "attempts": [
            {
                "number": attempt.number,
                "provider": attempt.provider,
                "state": attempt.state,
                "error_class": attempt.error_class or None,
                "http_status": attempt.http_status,
                "duration_ms": attempt.duration_ms,
                "cost": _number(attempt.cost),
            }
            for attempt in Attempt.objects.filter(caller_key=request.id).order_by("number")
        ],
    }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
