"""The calls that vendors make when a job is over: signed as Standard Webhooks are, and repeated while nobody listens.

Source: https://replicate.com/docs/topics/webhooks (read 2026-11). Of its four events only the last one is called out.
"""

import base64
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from providers.errors import ProviderError
from providers.sandbox.addresses import is_loopback
from providers.sandbox.vendor_base import new_id
from providers.transport import client
from providers.transport.deadlines import Deadline
from providers.transport.webhook_signatures import SIGNATURE_VERSION, signing_key

logger = logging.getLogger("sandbox")

TRIES = 3
PAUSE_SECONDS = 1.0  # before the second try; the real ones go on for longer
PATIENCE_SECONDS = 5.0


class Callbacks:
    """Calls that are due later, each in a thread of its own until the sandbox ends."""

    def __init__(self, secret: str, is_closing: threading.Event) -> None:
        """`secret` has the form whsec_<base64>; without one nobody is called."""
        self.secret = secret
        self._is_closing = is_closing

    def later(self, seconds: float, url: str, body: Callable[[], Mapping[str, Any] | None]) -> None:
        """Call the address after some time with what `body` returns then; None means that the call is not needed."""
        if signing_key(self.secret) and is_loopback(urlsplit(url).hostname or ""):
            threading.Thread(target=self._run, args=(seconds, url, body), name="callback", daemon=True).start()

    def _run(self, seconds: float, url: str, body: Callable[[], Mapping[str, Any] | None]) -> None:
        if self._is_closing.wait(seconds):
            return
        content = body()
        if content is None:
            return
        call_id, sent = new_id("msg_"), json.dumps(content).encode()
        for number in range(TRIES):
            if self._is_closing.wait(number * PAUSE_SECONDS):
                return
            status = self._call(url, call_id, sent)
            logger.info("The job %s is over; its caller answers %s", content["id"], status or "nothing")
            if 200 <= status < 300:
                return

    def _call(self, url: str, call_id: str, body: bytes) -> int:
        """Make the call once. Returns the status, 0 where there was none."""
        timestamp = str(int(time.time()))
        signed = b".".join((call_id.encode(), timestamp.encode(), body))
        signature = base64.b64encode(hmac.digest(signing_key(self.secret), signed, "sha256")).decode()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": call_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"{SIGNATURE_VERSION}{signature}",
        }
        try:
            with client.send(
                "POST",
                url,
                headers=headers,
                body=body,
                idle_timeout_seconds=PATIENCE_SECONDS,
                deadline=Deadline.after(PATIENCE_SECONDS),
                allow_http=True,
            ) as answer:
                return answer.status
        except ProviderError:
            return 0
