"""Talking to a sandbox that runs in another process."""

import json
from typing import Any

from providers.errors import ProviderError
from providers.sandbox.server import CONTROL
from providers.transport import client
from providers.transport.deadlines import Deadline

PATIENCE_SECONDS = 5.0


class NotRunning(Exception):
    """Nothing answers at the sandbox's address."""


def faults_of(url: str) -> dict[str, str | None]:
    """Return each provider's fault, or None where it works. Raises NotRunning."""
    return dict(_exchange("GET", url, "faults"))


def break_provider(url: str, provider: str, fault: str) -> dict[str, str | None]:
    """Let a provider fail; return all faults. Raises NotRunning, and ValueError for a name that is none."""
    return dict(_exchange("POST", url, "faults", {"provider": provider, "fault": fault}))


def heal(url: str, provider: str = "") -> dict[str, str | None]:
    """Let one provider work again, or all; return all faults. Raises NotRunning, and ValueError for a wrong name."""
    return dict(_exchange("POST", url, "faults", {"provider": provider, "fault": None}))


def _exchange(method: str, url: str, path: str, wish: dict[str, Any] | None = None) -> Any:
    try:
        with client.send(
            method,
            f"{url}/{CONTROL}/{path}",
            headers={"Content-Type": "application/json"},
            body=json.dumps(wish).encode() if wish else None,
            idle_timeout_seconds=PATIENCE_SECONDS,
            deadline=Deadline.after(PATIENCE_SECONDS),
            allow_http=True,
        ) as answer:
            status, content = answer.status, json.loads(answer.body())
    except (ProviderError, ValueError) as error:
        raise NotRunning(f"No sandbox answers at {url}.") from error
    if status != 200:
        raise ValueError(content.get("error") if isinstance(content, dict) else f"{url} is not a sandbox.")
    return content
