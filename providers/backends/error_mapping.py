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
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
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


# Many providers report an empty wallet as a bad request or as a rate limit. Waiting does not fill it.
INSUFFICIENT_FUNDS = (
    ErrorRule(AccessDenied, codes=("insufficient_quota",)),
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
    for rule in (*rules, *INSUFFICIENT_FUNDS):
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
    return _seconds_until(headers.get("Retry-After", ""))


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
