"""How to reach each provider: its key, its base URL, the secret of its callbacks. All of it from the environment.

settings.py reads the variables that the registry names; everybody else asks here.
"""

from typing import TYPE_CHECKING

from django.conf import settings

from providers.registry import PROVIDERS, account_class, is_implemented, provider_class
from providers.types import Access, Category, Operation, Purpose

if TYPE_CHECKING:
    from providers.accounts.base import AccountApi
    from providers.backends.base import TextProvider
    from providers.backends.media_generation import MediaProvider


def access_to(slug: str) -> Access | None:
    """Return keys and base URL of a provider; None where the registry does not know it or its key is not set."""
    access: Access | None = settings.PROVIDER_ACCESS.get(slug)
    return access if access and access.key else None


def is_configured(slug: str) -> bool:
    """Return whether the provider's key is set."""
    return access_to(slug) is not None


def is_ready(category: Category, slug: str) -> bool:
    """Return whether the provider can be asked at all: its key is set, and a class implements the category."""
    return is_configured(slug) and is_implemented(category, slug)


def connect_each(
    category: Category, slug: str, operation: Operation = Operation.GENERATE
) -> "list[TextProvider | MediaProvider]":
    """Return the provider once with each of its keys, ready to call; empty where it is not ready."""
    access, backend = access_to(slug), backend_for(category, slug, operation)
    return [backend(each) for each in access.each()] if access and backend else []


def backend_for(
    category: Category, slug: str, operation: Operation = Operation.GENERATE
) -> "type[TextProvider | MediaProvider] | None":
    """Return the class that does this for the provider, key or no key; None where there is none."""
    return provider_class(category, slug, operation) if is_implemented(category, slug, operation) else None


def admin_access_to(slug: str) -> Access | None:
    """Return the admin key of a provider and its address; None where none is set."""
    access: Access | None = settings.ADMIN_ACCESS.get(slug)
    return access if access and access.key else None


def accounts_of(slug: str) -> "list[AccountApi]":
    """Return who is asked for a provider's account: its admin key where one is set, else each key that makes calls.

    Empty where no key is told anything.
    """
    spec, admin, access = PROVIDERS[slug].account, admin_access_to(slug), access_to(slug)
    if admin and spec.admin_path:
        return [account_class(spec.admin_path)(admin)]
    return [account_class(spec.path)(each) for each in access.each()] if access and spec.path else []


def current_purpose(intended: Purpose = Purpose.USER) -> Purpose:
    """Return whom what is made now serves, be it a call, a request or a movement of credits.

    That is nobody while the sandbox answers, whatever is intended.
    """
    return Purpose.SANDBOX if settings.SANDBOX_ACTIVE else intended


def callback_secret(slug: str) -> str:
    """Return the secret that signs the provider's callbacks; "" where it makes none or the secret is not set."""
    secret: str = settings.PROVIDER_CALLBACK_SECRETS.get(slug, "")
    return secret


def providers_with_callbacks() -> list[str]:
    """Return the slugs of the providers that call us when a job is over."""
    return [slug for slug, spec in PROVIDERS.items() if spec.callback]
