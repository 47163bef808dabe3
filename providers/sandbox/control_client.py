"""The client of the sandbox's control interface, for a sandbox that runs in another process."""

import json
from typing import Any

from providers.errors import ProviderError
from providers.sandbox.server import CONTROL_PREFIX
from providers.transport import client
from providers.transport.deadlines import Deadline

TIMEOUT_SECONDS = 5.0


class SandboxNotRunning(Exception):
    """Nothing answers at the sandbox's address."""


def faults_of(url: str) -> dict[str, str | None]:
    """Return each provider's fault, or None where it works. Raises SandboxNotRunning."""
    return dict(_exchange("GET", url, "faults"))


def break_provider(url: str, provider: str, fault: str) -> dict[str, str | None]:
    """Let a provider fail; return all faults. Raises SandboxNotRunning, and ValueError for an unknown name."""
    return dict(_exchange("POST", url, "faults", {"provider": provider, "fault": fault}))


def heal(url: str, provider: str = "") -> dict[str, str | None]:
    """Let one provider work again, or all; return all faults. Raises as break_provider() does."""
    return dict(_exchange("POST", url, "faults", {"provider": provider, "fault": None}))


def _exchange(method: str, url: str, path: str, command: dict[str, Any] | None = None) -> Any:
    try:
        with client.send(
            method,
            f"{url}/{CONTROL_PREFIX}/{path}",
            headers={"Content-Type": "application/json"},
            body=json.dumps(command).encode() if command else None,
            idle_timeout_seconds=TIMEOUT_SECONDS,
            deadline=Deadline.after(TIMEOUT_SECONDS),
            allow_http=True,
        ) as response:
            status, content = response.status, json.loads(response.body())
    except (ProviderError, ValueError) as error:
        raise SandboxNotRunning(f"No sandbox answers at {url}.") from error
    if status != 200:
        raise ValueError(content.get("error") if isinstance(content, dict) else f"{url} is not a sandbox.")
    return content
