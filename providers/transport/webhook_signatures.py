"""Verifying webhook signatures in the Standard Webhooks scheme. Pure; which provider signs so is not known here."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping

MAX_CLOCK_SKEW_SECONDS = 300  # a call signed longer ago may be a replay
SECRET_PREFIX = "whsec_"  # noqa: S105 — how the secret begins
SIGNATURE_VERSION = "v1,"

_SECONDS = re.compile(r"[0-9]{1,12}")


def signing_key(secret: str) -> bytes:
    """Return the key inside a secret of the form whsec_<base64>; empty where it has another form."""
    if not secret.startswith(SECRET_PREFIX):
        return b""
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return b""


def is_genuine(headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> bool:
    """Return whether a call carries the provider's signature, made within the last minutes. `now` is in Unix seconds.

    The signature covers the call's id, its time and its body, but not its address.
    Source: https://replicate.com/docs/topics/webhooks/verify-webhook (read 2026-11).
    """
    key = signing_key(secret)
    call_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not key or not call_id or not _SECONDS.fullmatch(timestamp):
        return False
    if abs(now - int(timestamp)) > MAX_CLOCK_SKEW_SECONDS:
        return False
    signed = b".".join((call_id.encode(), timestamp.encode(), body))
    expected = base64.b64encode(hmac.digest(key, signed, "sha256"))
    # Several entries come while the provider rotates its secret.
    entries = headers.get("webhook-signature", "").split()
    return any(
        hmac.compare_digest(entry.removeprefix(SIGNATURE_VERSION).encode(), expected)
        for entry in entries
        if entry.startswith(SIGNATURE_VERSION)
    )
