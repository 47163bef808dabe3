"""Callbacks that vendors make when a job is over: signed as Standard Webhooks are, and repeated while nobody accepts.

Source: https://replicate.com/docs/topics/webhooks (read 2026-11). Of its four events only the last one is sent.
"""

import base64
import hmac
import ipaddress
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from providers.errors import ProviderError
from providers.sandbox.exchange import new_id
from providers.transport import client
from providers.transport.deadlines import Deadline
from providers.transport.webhook_signatures import SIGNATURE_VERSION, signing_key

logger = logging.getLogger("sandbox")

MAX_TRIES = 3
PAUSE_SECONDS = 1.0  # before the second try; the real ones go on for longer
TIMEOUT_SECONDS = 5.0


class OutgoingCallbacks:
    """Callbacks that are due later, each in a thread of its own until the sandbox ends."""

    def __init__(self, secret: str, is_closing: threading.Event) -> None:
        """`secret` has the form whsec_<base64>; without one nobody is called."""
        self.secret = secret
        self._is_closing = is_closing

    def schedule(self, seconds: float, url: str, body: Callable[[], Mapping[str, Any] | None]) -> None:
        """Call the address after some time with what `body` returns then; None means that it is not needed any more."""
        if signing_key(self.secret) and is_loopback(urlsplit(url).hostname or ""):
            threading.Thread(target=self._run, args=(seconds, url, body), name="callback", daemon=True).start()

    def _run(self, seconds: float, url: str, body: Callable[[], Mapping[str, Any] | None]) -> None:
        if self._is_closing.wait(seconds):
            return
        content = body()
        if content is None:
            return
        message_id, encoded = new_id("msg_"), json.dumps(content).encode()
        for number in range(MAX_TRIES):
            if self._is_closing.wait(number * PAUSE_SECONDS):
                return
            status = self._call(url, message_id, encoded)
            logger.info("The job %s is over; its callback is answered with %s", content["id"], status or "nothing")
            if 200 <= status < 300:
                return

    def _call(self, url: str, message_id: str, body: bytes) -> int:
        """Make the call once. Returns the status, 0 where there was none."""
        timestamp = str(int(time.time()))
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        signature = base64.b64encode(hmac.digest(signing_key(self.secret), signed, "sha256")).decode()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"{SIGNATURE_VERSION}{signature}",
        }
        try:
            with client.send(
                "POST",
                url,
                headers=headers,
                body=body,
                idle_timeout_seconds=TIMEOUT_SECONDS,
                deadline=Deadline.after(TIMEOUT_SECONDS),
                allow_http=True,
            ) as response:
                return response.status
        except ProviderError:
            return 0


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address: the sandbox listens on no other, and calls no other."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
