"""Reading environment variables: each function parses one variable or refuses it by name."""

import io
import os
import re
import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit
from zoneinfo import ZoneInfo

import environ
import psycopg
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email
from psycopg.conninfo import make_conninfo

# By their old names. An empty value is no value, as everywhere.
RENAMED_VARIABLES: Mapping[str, str] = {"RESULT_OUTLET": "DELIVERY_BACKEND"}
# What environ.Env.read_env understands. It logs any other line as it is, and a line may contain a secret.
ENV_LINE = re.compile(r"(?:export )?[A-Za-z_0-9]+=.*|\s*(?:#.*)?")
HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9a-f:.]+\]", re.IGNORECASE)
ORIGIN = re.compile(r"https?://(\*\.)?[\w-]+(\.[\w-]+)*(:\d+)?|https?://\[[0-9a-f:.]+\](:\d+)?", re.IGNORECASE)
SERVER = re.compile("[a-z][a-z0-9-]{0,31}")
BUCKET = re.compile(r"[\w.-]{1,255}|arn:\S+", re.ASCII)
POSTGRES_SCHEMES = ("postgres", "postgresql", "psql", "pgsql")
REDIS_SCHEMES = ("redis", "rediss")  # the health check's client and Celery's write those of sockets differently
MAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}
MAX_PORT = 65_535
MAX_INT = 2**31 - 1
MIN_KEPT_DAYS = 8
MIN_COMPARED = 6  # characters of a name; shorter ones are alike by chance
ALIKE = 0.8  # of 1
READ_BY_OTHERS = re.compile("WEB_CONCURRENCY|OTEL_.*|SENTRY_.*")


def read_env_file(default: Path) -> None:
    """Set the variables that are not set yet from the file that ENV_FILE names, or from `default` where it is there.

    Raises ImproperlyConfigured where it cannot be read: half of the settings would be those of another installation.
    """
    named = env_text("ENV_FILE")
    path = Path(named or default)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not named:
            return
        raise ImproperlyConfigured(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{path} is not UTF-8 text.") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not ENV_LINE.fullmatch(line):
            raise ImproperlyConfigured(f"{path}, line {number} is not of the form NAME=value (no blanks around the =).")
    environ.Env.read_env(io.StringIO("\n".join(line for line in text.splitlines() if line.strip())))


def refuse_renamed_variables() -> None:
    """Raise ImproperlyConfigured where a variable is set by its old name: it would be ignored, and nobody told."""
    for old, new in RENAMED_VARIABLES.items():
        if env_text(old):
            raise ImproperlyConfigured(f"{old} is now called {new}. Rename it in the environment or .env.")


def is_command(*names: str) -> bool:
    """Return whether this process runs one of these management commands."""
    return len(sys.argv) > 1 and Path(sys.argv[0]).name in ("manage.py", "django-admin") and sys.argv[1] in names


_read_variables: set[str] = set()


def env_text(name: str, default: str = "") -> str:
    """Return the variable without surrounding blanks; unset and empty both give `default`."""
    _read_variables.add(name)
    return os.environ.get(name, "").strip() or default


def misspelt_variables() -> list[tuple[str, str]]:
    """Return the variables that nobody reads and that are almost called like one of ours, each with its nearest name.

    Complete once the settings are loaded. Other variables of the environment belong to other programs.
    """
    unread = {name for name in os.environ.keys() - _read_variables if not READ_BY_OTHERS.fullmatch(name)}
    found = []
    for name in sorted(name for name in unread if len(name) >= MIN_COMPARED):
        # Who mistypes a name seldom does so at its first letter, and other programs have names such as AWS_….
        candidates = [known for known in _read_variables if known[0] == name[0]]
        found += [(name, nearest) for nearest in get_close_matches(name, candidates, n=1, cutoff=ALIKE)]
    return found


def env_bool(name: str, *, default: bool) -> bool:
    """Return a boolean, spelled exactly True or False, so that a typo cannot switch a protection off."""
    text = env_text(name)
    if not text:
        return default
    if text not in ("True", "False"):
        raise ImproperlyConfigured(f"{name} must be True or False, not {text!r}.")
    return text == "True"


def env_choice(name: str, choices: Sequence[str]) -> str:
    """Return one of these words; the first is the default."""
    text = env_text(name, choices[0])
    if text not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {text!r}.")
    return text


def env_time_zone(name: str) -> str:
    """Return the name of a time zone that this machine knows, by default UTC."""
    text = env_text(name, "UTC")
    try:
        ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise ImproperlyConfigured(
            f"{name} must be the name of a time zone, such as Europe/Berlin, not {text[:40]!r}."
        ) from None
    return text


def env_int(name: str, default: int, minimum: int = 0, maximum: int = MAX_INT) -> int:
    """Return a whole number from `minimum` to `maximum`."""
    text = env_text(name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and minimum <= int(text) <= maximum):
        most = "" if maximum == MAX_INT else f" and at most {maximum}"
        raise ImproperlyConfigured(f"{name} must be a whole number of at least {minimum}{most}, not {text[:40]!r}.")
    return int(text)


def env_port(name: str, default: int) -> int:
    """Return a TCP port."""
    return env_int(name, default, minimum=1, maximum=MAX_PORT)


def env_log_file(name: str) -> str:
    """Return the path of a file to which this process may append, "" where none is named. Nothing is created."""
    text = env_text(name)
    path = Path(text)
    may_write = (
        os.access(path, os.W_OK) and path.is_file() if path.exists() else os.access(path.parent, os.W_OK | os.X_OK)
    )
    if text and not may_write:
        raise ImproperlyConfigured(
            f"{name} is {text}, where this user must not write, or whose folder is missing. Create it, or name another."
        )
    return text


def env_money(name: str) -> Decimal | None:
    """Return an amount in USD, None where none is set."""
    text = env_text(name)
    return _money(name, text) if text else None


def env_price(name: str, default: str) -> Decimal:
    """Return a price in USD; 0 is one, too."""
    return _money(name, env_text(name, default))


def env_caps(name: str, providers: Collection[str]) -> dict[str, Decimal]:
    """Return an amount in USD for each provider that is named, from `openai=5 replicate=20`."""
    caps: dict[str, Decimal] = {}
    for entry in re.split(r"[\s,]+", env_text(name)):
        slug, _, amount = entry.partition("=")
        if entry and slug not in providers:
            raise ImproperlyConfigured(f"{name} names {slug[:40]!r}, which is no provider. Use {', '.join(providers)}.")
        if entry:
            caps[slug] = _money(name, amount)
    return caps


def _money(name: str, text: str) -> Decimal:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text, re.ASCII):
        raise ImproperlyConfigured(f"{name} must be an amount in USD such as 12.50, not {text[:40]!r}.")
    return Decimal(text)


def env_days(name: str) -> int:
    """Return after how many days something is erased; 0 is never."""
    days = env_int(name, 0)
    if 0 < days < MIN_KEPT_DAYS:
        raise ImproperlyConfigured(
            f"{name} must be 0 (never) or at least {MIN_KEPT_DAYS}: an answer waits for a week for a user who has "
            "blocked the bot."
        )
    return days


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


def env_keys(name: str) -> list[str]:
    """Return the keys of a provider, separated by commas, from the variable or from the file that `NAME_FILE` names."""
    text = env_secret(name)
    keys = text.split(",") if text else []
    if not all(keys) or len(set(keys)) < len(keys):
        raise ImproperlyConfigured(
            f"{name} must be keys separated by single commas, each once; one is empty or double."
        )
    return keys


def env_secrets(name: str) -> list[str]:
    """Return a comma-separated list of secrets, from the variable or from the file that `NAME_FILE` names."""
    return [secret for secret in env_secret(name).split(",") if secret]


def _printable(name: str, secret: str) -> str:
    # A key goes into an HTTP header: a line break or a curly quote pasted with it fails only there, and obscurely.
    if not all("!" <= character <= "~" for character in secret):
        raise ImproperlyConfigured(f"{name} contains a blank or a character that is not plain ASCII; paste it again.")
    return secret


def env_url(name: str, default: str = "", *, keeps_slash: bool = False) -> str:
    """Return an http(s) address without its trailing slash, so that a path can be appended; as typed if told so."""
    text = env_text(name, default)
    if not text:
        return ""
    if not _is_plain_address(text):
        raise ImproperlyConfigured(f"{name} must be a plain address such as https://api.example.com/v1.")
    return text if keeps_slash else text.rstrip("/")


def env_servers(name: str, taken: Collection[str]) -> dict[str, str]:
    """Return servers by their names, none of which is `taken`, from `name=https://address` separated by blanks."""
    servers: dict[str, str] = {}
    for entry in re.split(r"[\s,]+", env_text(name)):
        slug, separator, url = entry.partition("=")
        if not entry:
            continue
        if not separator or not SERVER.fullmatch(slug) or not _is_plain_address(url):
            raise ImproperlyConfigured(
                f"{name} must be names and addresses, separated by blanks, such as "
                "deepseek=https://api.deepseek.com/v1; a name has small letters, digits and -."
            )
        if slug in taken or slug in servers:
            raise ImproperlyConfigured(f"{name} contains {slug}, which is there already. Give it another name.")
        servers[slug] = url.rstrip("/")
    return servers


def env_hosts(name: str) -> list[str]:
    """Return a list of host names as Django compares them: without a scheme, a port or a path."""
    hosts = env_list(name)
    if not all(HOST.fullmatch(host) for host in hosts):
        raise ImproperlyConfigured(
            f"{name} must be host names such as bot.example.com, separated by commas: no https://, no port, no path."
        )
    return hosts


def env_origins(name: str) -> list[str]:
    """Return a list of origins as browsers send them: a scheme and a host, without a path."""
    origins = [origin.rstrip("/") for origin in env_list(name)]
    if not all(ORIGIN.fullmatch(origin) for origin in origins):
        raise ImproperlyConfigured(
            f"{name} must be origins such as https://bot.example.com, separated by commas: with scheme, without path."
        )
    return origins


def _is_plain_address(text: str) -> bool:
    parts = _split(text)
    return (
        parts is not None
        and parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and not any(sign in text for sign in "?#@\\")
        and all(character.isprintable() and not character.isspace() for character in text)
    )


def env_bucket(name: str) -> str:
    """Return the name of a bucket."""
    bucket = env_text(name)
    if bucket and not BUCKET.fullmatch(bucket):
        raise ImproperlyConfigured(f"{name} must be the bucket's name alone, such as my-media: no address, no folder.")
    return bucket


def env_folder(name: str, default: Path) -> Path:
    """Return a folder that this process may write to, made where it is missing."""
    folder = Path(env_text(name, str(default)))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name} cannot be created at {folder} ({error.strerror}). Name a folder that this user may create."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(f"{name} is {folder}, where this user must not write. Name another or permit it.")
    return folder


def env_redis_url(name: str) -> str:
    """Return the address of a Redis or Valkey server. No error message contains it, nor a part of it."""
    url = env_secret(name)
    if not url:
        return ""
    if not url.startswith(tuple(f"{scheme}://" for scheme in REDIS_SCHEMES)):
        raise ImproperlyConfigured(f"{name} must start with redis:// or rediss://.")
    parts = _split(url)
    if parts is None or not parts.hostname or not re.fullmatch("/?[0-9]*", parts.path) or parts.fragment:
        raise ImproperlyConfigured(
            f"{name} must have the form redis://:password@host:6379/0; special characters in the password are written "
            "percent-encoded."
        )
    return url


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server that takes our mail."""

    host: str = ""  # "" where there is none
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    use_starttls: bool = False
    use_tls: bool = False  # from the first byte


def env_mail(name: str) -> MailServer:
    """Return a mail server. No error message contains its address, nor a part of it."""
    url = env_secret(name)
    if not url:
        return MailServer()
    parts = _split(url)
    if parts is None or parts.scheme not in MAIL_PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ImproperlyConfigured(
            f"{name} must have the form smtp+tls://user:password@mail.example.com:587 (or smtp+ssl:// for a port with "
            "TLS from the first byte, smtp:// for none); special characters in the password are written "
            "percent-encoded."
        )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user + password).isascii():
        raise ImproperlyConfigured(f"The user and the password of {name} must be ASCII: mail servers know no other.")
    return MailServer(
        parts.hostname,
        parts.port or MAIL_PORTS[parts.scheme],
        user,
        password,
        use_starttls=parts.scheme == "smtp+tls",
        use_tls=parts.scheme == "smtp+ssl",
    )


def env_addresses(name: str) -> list[str]:
    """Return a comma-separated list of e-mail addresses."""
    addresses = env_list(name)
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            raise ImproperlyConfigured(
                f"{name} must be addresses such as me@example.com, separated by commas."
            ) from None
    return addresses


def env_dsn(name: str) -> str:
    """Return the address of a project at Sentry, or at a server that takes what Sentry takes."""
    dsn = env_secret(name)
    parts = _split(dsn)
    if dsn and (
        parts is None
        or parts.scheme not in ("http", "https")
        or not (parts.hostname and parts.username and parts.path.rpartition("/")[2].isdecimal())
    ):
        raise ImproperlyConfigured(f"{name} must be a project's DSN, such as https://key@sentry.example.com/1.")
    return dsn


def env_database(name: str, default: Path) -> dict[str, Any]:
    """Return Django's description of the database, by default of the SQLite file `default`.

    No error message contains the address, nor a part of it. Nor does a warning: django-environ's would.
    """
    url = env_secret(name) or f"sqlite:///{quote(str(default))}"
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in (*POSTGRES_SCHEMES, "sqlite"):
        raise ImproperlyConfigured(f"{name} must start with postgres:// or sqlite:///.")
    if scheme.lower() == "sqlite":
        if not re.fullmatch(r"/[^?#]+", rest):
            raise ImproperlyConfigured(
                f"{name} must have the form sqlite:///relative/path or sqlite:////absolute/path."
            )
        return _parsed_database(url)
    try:
        database = _parsed_database(url)
        valid = _is_usable(database)
    except (ValueError, TypeError, SyntaxError, psycopg.Error):
        valid = False
    if not valid:
        raise ImproperlyConfigured(
            f"{name} must have the form postgres://user:password@host:5432/name, perhaps with PostgreSQL's own options "
            "behind it, such as ?sslmode=require; special characters in the password are written percent-encoded."
        )
    return database


def _parsed_database(url: str) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        database: dict[str, Any] = environ.Env.db_url_config(url)
    return database


def _is_usable(database: Mapping[str, Any]) -> bool:
    """Return whether PostgreSQL can be reached so. Raises psycopg.Error for an option that it does not have."""
    options = {key: str(value) for key, value in database.get("OPTIONS", {}).items()}
    make_conninfo(**options)
    if "password" in options or "CONN_MAX_AGE" in database:  # no place for a secret; the pool keeps the connections
        return False
    ports = [int(port) for port in str(database["PORT"]).split(",") if port]  # of a cluster: one for each host
    return bool(database["NAME"]) and all(port <= MAX_PORT for port in ports)


def _split(url: str) -> SplitResult | None:
    """Return the parts of an address, None where its port or its brackets are invalid."""
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def passwords_of(url: str) -> list[str]:
    """Return the password of an address as the address writes it, percent-encoded, and as it is."""
    parts = _split(url)
    password = (parts and parts.password) or ""
    return [password, unquote(password)]
