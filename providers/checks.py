"""What `manage.py check` says about providers. Checks that read the database run with `--database` and `migrate`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 — Django's own name
from django.db import DatabaseError, connections

from providers.access import callback_secret, is_configured, providers_with_callbacks
from providers.registry import PROVIDERS, ProviderSpec, account_class, is_implemented, label_of, provider_class
from providers.transport.webhook_signatures import signing_key

RESERVED_CONNECTIONS = 10  # for PostgreSQL's superusers, backups and a person with psql
USUAL_PROCESSES = 6  # two web processes, two workers, one for the chat, the sweeper


def check_registry(**_: Any) -> list[CheckMessage]:
    """E001: every class that the registry names can be imported."""
    messages: list[CheckMessage] = []
    for slug, spec in PROVIDERS.items():
        imports: list[tuple[str, str, Callable[[], type]]] = [
            (category, spec.backend_path(category, operation), partial(provider_class, category, slug, operation))
            for category, operation in spec.abilities()
        ]
        accounts = [path for path in (spec.account.path, spec.account.admin_path) if path]
        imports += [("its account", path, partial(account_class, path)) for path in accounts]
        for what, path, load in imports:
            try:
                load()
            except (ImportError, AttributeError) as error:
                messages.append(
                    Error(
                        f"{spec.label} for {what} cannot be imported: {error}",
                        hint=f"Fix {path} or its entry in providers/registry.py.",
                        obj=slug,
                        id="providers.E001",
                    )
                )
    return messages


def check_connections(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W005: the pools of a usual deployment want more connections than PostgreSQL hands out."""
    if not databases or connections[databases[0]].vendor != "postgresql":
        return []
    try:
        with connections[databases[0]].cursor() as cursor:
            cursor.execute("SELECT current_setting('max_connections')::int")
            allowed = cursor.fetchone()[0] - RESERVED_CONNECTIONS
    except DatabaseError:
        return []
    pool_size = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    if pool_size * USUAL_PROCESSES <= allowed:
        return []
    return [
        Warning(
            f"{USUAL_PROCESSES} processes with {pool_size} connections each need {pool_size * USUAL_PROCESSES}, but "
            f"PostgreSQL hands out {allowed}.",
            hint="Set DATABASE_POOL_SIZE lower, raise max_connections, or put PgBouncer in front of it, with "
            "ignore_startup_parameters = options.",
            id="providers.W005",
        )
    ]


def check_keys(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W001: enabled providers without a key. They are skipped, which is what many operators want."""
    if not databases:
        return []
    rows = apps.get_model("providers", "ProviderConfig").objects.using(databases[0]).filter(enabled=True)
    try:
        enabled = {
            slug
            for category, slug, operation in rows.values_list("category", "provider", "operation")
            if is_implemented(category, slug, operation)
        }
    except DatabaseError:
        return []  # before the first migration
    keyless = [slug for slug in PROVIDERS if slug in enabled and not is_configured(slug)]
    if not keyless:
        return []
    return [
        Warning(
            f"Enabled, but skipped for want of a key: {', '.join(label_of(slug) for slug in keyless)}.",
            hint=f"Set {', '.join(PROVIDERS[slug].key_variable for slug in keyless)}, or switch them off in the admin.",
            id="providers.W001",
        )
    ]


def check_sandbox(**_: Any) -> list[CheckMessage]:
    """W002: the sandbox, which invents answers, is configured where real users are served."""
    if not settings.SANDBOX_URL or settings.DEBUG:
        return []
    effect = "Answers are invented." if settings.SANDBOX_ACTIVE else "It is not used, because a key is set."
    return [
        Warning(
            f"SANDBOX_URL is set although DEBUG is off. {effect}",
            hint="Remove SANDBOX_URL from the environment.",
            id="providers.W002",
        )
    ]


def check_callbacks(**_: Any) -> list[CheckMessage]:
    """E002: an invalid secret. W003: half of what callbacks need. W004: an address that no provider calls."""
    messages: list[CheckMessage] = []
    for slug in providers_with_callbacks():
        messages += _callback_messages(PROVIDERS[slug], callback_secret(slug), settings.PUBLIC_URL)
    return messages


def _callback_messages(spec: ProviderSpec, secret: str, url: str) -> list[CheckMessage]:
    if spec.callback is None:
        return []
    variable = spec.callback.secret_variable
    if secret and not signing_key(secret):
        return [Error(f"{variable} is not a webhook secret.", hint=spec.callback.secret_hint, id="providers.E002")]
    if bool(secret) != bool(url):
        missing = "PUBLIC_URL" if secret else variable
        return [
            Warning(
                f"{missing} is not set, so {spec.label} does not call when a job is over; its jobs are only polled.",
                hint=f"Set {missing}, or remove the other one of PUBLIC_URL and {variable}.",
                id="providers.W003",
            )
        ]
    if url and not url.startswith("https://") and not settings.SANDBOX_ACTIVE:
        return [
            Warning(
                f"PUBLIC_URL is no https address, so {spec.label} does not call when a job is over; it is only polled.",
                hint="Set PUBLIC_URL to https://… or remove it.",
                id="providers.W004",
            )
        ]
    return []
