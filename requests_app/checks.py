"""System checks of the settings that name a class or a function by its dotted path."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string

from requests_app.delivery_backend import DeliveryBackend


def check_delivery_backend(**_: Any) -> list[CheckMessage]:
    """E001: the class that delivers results exists. Without it requests would be claimed and their answers lost."""
    return _messages("DELIVERY_BACKEND", settings.DELIVERY_BACKEND, "a DeliveryBackend class", _is_backend, "E001")


def check_functions(**_: Any) -> list[CheckMessage]:
    """E002: every function exists that `manage.py sweep` calls, or that a worker asks for due work."""
    named = [(name, path) for name in ("SWEEPS", "DUE_WORK") for path in getattr(settings, name)]
    return [message for name, path in named for message in _messages(name, path, "a function", callable, "E002")]


def _messages(name: str, path: str, kind: str, fits: Callable[[Any], bool], check_id: str) -> list[CheckMessage]:
    try:
        found = import_string(path)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        message = f"{name} must name {kind} by its dotted path, and {path!r} cannot be imported: {error}"
    else:
        if fits(found):
            return []
        message = f"{name} must name {kind} by its dotted path, and {path!r} is none."
    return [Error(message, hint=f"Correct {name}, or remove it.", id=f"requests_app.{check_id}")]


def _is_backend(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, DeliveryBackend)
