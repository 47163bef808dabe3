"""Reading environment variables: each function parses one variable or refuses it by name."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

# By their old names. An empty value is no value, as everywhere.
RENAMED_VARIABLES: Mapping[str, str] = {"RESULT_OUTLET": "DELIVERY_BACKEND"}


def refuse_renamed_variables() -> None:
    """Raise ImproperlyConfigured where a variable is set by its old name: it would be ignored, and nobody told."""
    for old, new in RENAMED_VARIABLES.items():
        if env_text(old):
            raise ImproperlyConfigured(f"{old} is now called {new}. Rename it in the environment or .env.")


def env_text(name: str, default: str = "") -> str:
    """Return the variable without surrounding blanks; unset and empty both give `default`."""
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, *, default: bool) -> bool:
    """Return a boolean, spelled exactly True or False, so that a typo cannot switch a protection off."""
    text = env_text(name)
    if not text:
        return default
    if text not in ("True", "False"):
        raise ImproperlyConfigured(f"{name} must be True or False, not {text!r}.")
    return text == "True"


def env_int(name: str, default: int, minimum: int = 0) -> int:
    """Return a whole number of at least `minimum`."""
    text = env_text(name)
    if not text:
        return default
    if not text.isdecimal() or int(text) < minimum:
        raise ImproperlyConfigured(f"{name} must be a whole number of at least {minimum}, not {text!r}.")
    return int(text)


def env_list(name: str) -> list[str]:
    """Return a comma-separated list without blanks."""
    return [item.strip() for item in env_text(name).split(",") if item.strip()]


def env_secret(name: str) -> str:
    """Return a secret from the variable, or from the file that `NAME_FILE` names. No error message contains it."""
    path = env_text(f"{name}_FILE")
    if not path:
        return _printable(name, env_text(name))
    if env_text(name):
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE, not both.")
    try:
        return _printable(f"{name}_FILE", Path(path).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error.__class__.__name__}.") from error


def _printable(name: str, secret: str) -> str:
    # A key goes into an HTTP header: a line break or a curly quote pasted with it fails only there, and obscurely.
    if not all("!" <= character <= "~" for character in secret):
        raise ImproperlyConfigured(f"{name} contains a blank or a character that is not plain ASCII; paste it again.")
    return secret


def env_url(name: str, default: str = "") -> str:
    """Return an http(s) address without its trailing slash, so that a path can be appended."""
    text = env_text(name, default)
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or parts.username:
        raise ImproperlyConfigured(f"{name} must be a plain address such as https://api.example.com/v1.")
    return text.rstrip("/")


def passwords_of(url: str) -> list[str]:
    """Return the password of an address as the address writes it, percent-encoded, and as it is."""
    password = urlsplit(url).password or ""
    return [password, unquote(password)]
