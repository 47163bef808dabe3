"""Tokens of the API: made, checked, revoked. Those of earlier releases are accepted too, for what they opened."""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AbstractBaseUser, User
from django.db.models import Q
from django.db.models.functions import Now
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from aibot.models import PERMISSIONS_OF, ApiToken, Scope
from providers.db import Lazily, update_unlocked
from providers.statistics.permissions import StaffOrToken, may

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this file, as the settings say

PREFIX = "aibot_"  # by which scanners for leaked secrets recognise a key
KEY_BYTES = 32
SHOWN_CHARACTERS = len(PREFIX) + 6
NOTED_EVERY = timedelta(minutes=1)  # when a token was last used


def scopes_of(user: User) -> list[Scope]:
    """Return the scopes that a user may give to a token: those whose permissions they have all themselves."""
    return [scope for scope, permissions in PERMISSIONS_OF.items() if user.has_perms(permissions)]


def token_create(
    *, name: str, made_by: User, scopes: Iterable[Scope], expires_at: datetime | None
) -> tuple[ApiToken, str]:
    """Create a token; return it and its key, which nobody can read again. Raises ValueError for a scope too many."""
    wanted = [scope for scope in Scope if scope in set(scopes)]
    if not set(wanted) <= set(scopes_of(made_by)):
        raise ValueError("A token may do no more than its maker.")
    key = f"{PREFIX}{secrets.token_hex(KEY_BYTES)}"
    token = ApiToken.objects.create(
        name=name,
        made_by=made_by,
        scopes=[scope.value for scope in wanted],
        beginning=key[:SHOWN_CHARACTERS],
        key_hash=_hash_of(key),
        expires_at=expires_at,
    )
    return token, key


def token_revoke(*, token_id: int) -> bool:
    """End a token for good; return whether it had not been revoked before. Idempotent."""
    return bool(ApiToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=Now()))


class ApiTokenAuthentication(TokenAuthentication):
    """`Authorization: Token …`, with a key of ours or one of an earlier release."""

    def authenticate_credentials(self, key: str) -> tuple[AbstractBaseUser, Any]:
        if not key.startswith(PREFIX):
            return super().authenticate_credentials(key)
        # Found by its hash: how long the database compares tells nothing about a key.
        tokens = ApiToken.objects.filter(key_hash=_hash_of(key), revoked_at=None, made_by__is_active=True)
        live = tokens.filter(Q(expires_at=None) | Q(expires_at__gt=Now())).select_related("made_by")
        token = live.annotate(now=Now()).first()
        if token is None:
            raise AuthenticationFailed("Invalid token: it is unknown, revoked or expired, or its maker is locked.")
        if token.last_used_at is None or token.last_used_at <= token.now - NOTED_EVERY:
            update_unlocked(ApiToken.objects.filter(Lazily(in_transaction=True), pk=token.pk), last_used_at=Now())
        return token.made_by, token


class BearerAuthentication(ApiTokenAuthentication):
    """The same with `Authorization: Bearer …`, which most clients know."""

    keyword = "Bearer"


class MayReadSomething(StaffOrToken):
    """Whoever may read anything of the API, for the pages that say what there is."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        read = {permission for permissions in PERMISSIONS_OF.values() for permission in permissions}
        return any(may(request, permission) for permission in read) or super().has_permission(request, view)


class _TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """How the OpenAPI document describes the header."""

    target_class = ApiTokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        how = "`Token ` and the key of an API token: Admin → API tokens."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": how}


class _BearerScheme(_TokenScheme):  # type: ignore[no-untyped-call]
    """The same for clients that know bearer tokens."""

    target_class = BearerAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


def _hash_of(key: str) -> str:
    return sha256(key.encode()).hexdigest()
