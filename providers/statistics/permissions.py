"""Who may read what over HTTP: staff by their permissions, and tokens by what they pass on of those."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from django.conf import settings
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports the default permissions, hence this file

LOOPBACK = ("127.0.0.1", "::1")
# A proxy on this machine connects from the loopback too; these say that it speaks for somebody else.
PROXY_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")


@runtime_checkable
class ScopedToken(Protocol):
    """A token that passes on a part of what its maker may do."""

    def grants(self, permission: str) -> bool:
        """Return whether a scope of the token contains this permission."""


def may(request: Request, *permissions: str) -> bool:
    """Return whether the request's user is staff with these permissions, and its token, if any, passes them on."""
    if not (request.user.is_active and request.user.is_staff and request.user.has_perms(permissions)):
        return False
    token = request.auth
    return token is None or (isinstance(token, ScopedToken) and all(map(token.grants, permissions)))


class StaffOrToken(BasePermission):
    """A staff session with the permission to view hourly sums, or an API token; with DEBUG, anybody on this machine.

    A token of an earlier release needs no staff account: an operator made it by hand, and all it opens is reading.
    """

    message = "Log in to the admin as staff that may view hourly sums, or send the header `Authorization: Token …`."
    staff_permission = "providers.view_attemptrollup"

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if may(request, self.staff_permission) or isinstance(request.auth, Token) or is_developer(request):
            return True
        if not request.user.is_authenticated:
            raise NotAuthenticated(self.message)  # a plain False would give a 401 that does not say what to do
        return False


class MayRead(BasePermission):
    """Staff with the permission that the view names as `permission`, or a token of theirs that passes it on."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        permission: str = view.permission  # type: ignore[attr-defined]  # see RecordViewSet
        if may(request, permission):
            return True
        self.message = f"This needs the permission {permission}: of staff, and in a scope of the token if you send one."
        if not request.user.is_authenticated:
            raise NotAuthenticated("Log in to the admin, or send the header `Authorization: Token …`.")
        return False


def is_developer(request: Request) -> bool:
    """Return whether the request comes from this machine, and DEBUG is on."""
    return (
        settings.DEBUG
        and request.META.get("REMOTE_ADDR") in LOOPBACK
        and not any(header in request.META for header in PROXY_HEADERS)
    )
