"""What a provider says went wrong, in one shape, and the table look-up that turns it into an error."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    RequestTooLarge,
    ServerFault,
)
from providers.transport.json_fields import get_path, json_safe, text_at


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """What an error body says."""

    status: int  # HTTP's, or the one that the body of a 200 names
    codes: tuple[str, ...] = ()  # machine-readable, the most telling first
    text: str = field(default="", repr=False)  # for people; may quote anything


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One row of a provider's error table. What is left empty fits everything."""

    error: type[ProviderError]
    statuses: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()
    text: str = ""  # a regular expression, searched in the text, case-insensitive

    def fits(self, reply: ErrorReply) -> bool:
        """Return whether this row is about such a reply."""
        return (
            (not self.statuses or reply.status in self.statuses)
            and (not self.codes or not set(self.codes).isdisjoint(reply.codes))
            and (not self.text or re.search(self.text, reply.text, re.IGNORECASE) is not None)
        )


# What only this request cannot pass: it is too large for a limit, or too dear for what is left. Others may go.
TOO_LARGE = (
    ErrorRule(
        RequestTooLarge,
        statuses=(400, 413, 429),
        text=r"request too large|too large for model|must be reduced|context_length_exceeded|maximum context length",
    ),
    ErrorRule(RequestTooLarge, text=r"you have [1-9][0-9,.]* credits? remaining, while"),
)
# Wrong keys, empty wallets and unknown models, as gateways in front of several providers (LiteLLM, new-api, Portkey and
# others) and some providers report them: with the status of a bad request, a rate limit or a fault of the server.
DRESSED_UP = (
    ErrorRule(ContentRefused, codes=("content_filter", "ResponsibleAIPolicyViolation")),
    ErrorRule(
        AccessDenied,
        codes=(
            "insufficient_quota",
            "insufficient_user_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "invalid_api_key",
            "account_deactivated",
        ),
    ),
    ErrorRule(
        AccessDenied,
        statuses=(400, 404, 422, 500),
        text=r"(incorrect|invalid|expired|malformed|missing|no) (api|access|subscription)[ _-]?(key|token)"
        r"|(api|access)[ _-]?(key|token) (is )?(not valid|invalid|missing|expired|required|incorrect)"
        r"|billing hard limit",
    ),
    ErrorRule(
        ModelGone,
        codes=("model_not_found", "model_not_exist", "model_not_available", "invalid_model", "DeploymentNotFound"),
    ),
    ErrorRule(
        ModelGone,
        statuses=(400, 404, 422, 500, 503),
        text=r"(unknown|invalid|no such|unsupported) model\b|\bmodel\b.{0,80}\b(does not exist|not found|not exist"
        r"|is not supported|not available|has been (removed|retired|deprecated))|no available channels? for model"
        r"|no (deployments?|healthy deployments?|endpoints?) (available|found) for",
    ),
    ErrorRule(
        AccessDenied,
        statuses=(400, 402, 403, 429),
        text=r"(insufficient|not enough|exhausted|used up|out of|too low).{0,20}\b(credits?|balance|funds)\b"
        r"|\b(credits?|balance|funds)\b.{0,30}(insufficient|not enough|exhausted|used up|too low)",
    ),
)

BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: AccessDenied,
    402: AccessDenied,
    403: AccessDenied,
    404: ModelGone,  # the path is ours and works, so it is the model
    408: OutcomeUnknown,  # a gateway's own time-out; the upstream may have gone on
    410: ModelGone,
    429: RateLimited,
    503: ServerFault,
    529: ServerFault,
}


def error_for(reply: ErrorReply, rules: Iterable[ErrorRule]) -> type[ProviderError]:
    """Return what the reply means: the first rule that fits, else the status."""
    for rule in (*TOO_LARGE, *rules, *DRESSED_UP):
        if rule.fits(reply):
            return rule.error
    if reply.status in BY_STATUS:
        return BY_STATUS[reply.status]
    return RequestRejected if 400 <= reply.status < 500 else OutcomeUnknown


def retry_after(headers: Mapping[str, str], body: Mapping[str, Any]) -> float | None:
    """Return after how many seconds the provider wants to be asked again, None where it does not say."""
    in_milliseconds = _seconds(headers.get("retry-after-ms"))
    if in_milliseconds is not None:
        return in_milliseconds / 1000
    for candidate in (
        headers.get("Retry-After"),
        get_path(body, "retry_after"),
        get_path(body, "error", "retry_after"),
        get_path(body, "error", "metadata", "retry_after_seconds"),
    ):
        seconds = _seconds(candidate)
        if seconds is not None:
            return seconds
    until = _seconds_until(headers.get("Retry-After", ""))
    return until if until is not None else _reset_after(headers, body)


_NUMBER = r"\d+(?:\.\d+)?"
_DURATION = re.compile(rf"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:({_NUMBER})s)?(?:({_NUMBER})ms)?", re.IGNORECASE)
_UNITS = (86_400, 3600, 60, 1, 0.001)
_WORDS = re.compile(
    rf"(?:try again|retry|wait|reset)[^0-9]{{1,20}}((?:{_NUMBER}(?:ms|[dhms])\s?)+|{_NUMBER} ?sec)", re.IGNORECASE
)
_MIN_EPOCH = 1_000_000_000  # seconds; a smaller number is a duration


def _reset_after(headers: Mapping[str, str], body: Mapping[str, Any]) -> float | None:
    """Return when the limit that was reached resets, by the vendors' own headers or words, None where nothing says it.

    Source: https://platform.openai.com/docs/guides/rate-limits, https://platform.claude.com/docs/en/api/rate-limits,
    https://openrouter.ai/docs/api-reference/limits (read 2026-11).
    """
    told = {name.lower(): value for name, value in headers.items()}
    inside = get_path(body, "error", "metadata", "headers")
    if isinstance(inside, Mapping):
        told |= {name.lower(): str(value) for name, value in inside.items()}
    resets = []
    for name, value in told.items():
        if "ratelimit" not in name or "reset" not in name:
            continue
        remaining = told.get(name.replace("reset", "remaining"))
        seconds = _moment_or_duration(value)
        if seconds is not None and (remaining is None or _seconds(remaining) == 0):
            resets.append(seconds)
    if resets:
        return max(resets)
    words = _WORDS.search(text_at(body, "error", "message") or text_at(body, "message"))
    return _moment_or_duration(words[1].replace(" ", "").removesuffix("ec")) if words else None


def _moment_or_duration(text: str) -> float | None:
    """Return the seconds of "6m0s", "20ms", "12", or until a moment: in (milli)seconds since 1970, or ISO 8601."""
    number = _seconds(text)
    if number is not None:
        if number >= 1000 * _MIN_EPOCH:
            number /= 1000
        return max(0.0, number - datetime.now(UTC).timestamp()) if number >= _MIN_EPOCH else number
    parts = _DURATION.fullmatch(text.strip())
    if parts and any(parts.groups()):
        return sum(float(part) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True) if part)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000": the zone is not said; HTTP's is always GMT
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def parse_error(status: int, body: Mapping[str, Any], code_paths: Iterable[tuple[str, ...]]) -> ErrorReply:
    """Read an error body in any of the shapes in use: nested {"error": {…}}, flat {"error": "…"}, bare {"message"}."""
    error = body.get("error")
    holder: Mapping[str, Any] = error if isinstance(error, Mapping) else body
    codes = tuple(str(code) for path in code_paths if isinstance(code := get_path(holder, *path), int | str) and code)
    text = error if isinstance(error, str) else text_at(holder, "message")
    if not text and holder:
        text = json.dumps(json_safe(holder))
    if status < 300:
        status = next((int(code) for code in codes if re.fullmatch("[45][0-9][0-9]", code)), status)
    return ErrorReply(status, codes, text)
