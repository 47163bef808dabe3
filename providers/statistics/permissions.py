"""Who may read the statistics, the documentation and the metrics."""

from typing import TYPE_CHECKING

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


class StaffOrToken(BasePermission):
    """A staff session with the permission to view hourly sums, or an API token; with DEBUG, anybody on this machine.

    A token needs no staff account: an operator made it by hand, and all it opens is reading.
    """

    message = "Log in to the admin as staff that may view hourly sums, or send the header `Authorization: Token …`."
    staff_permission = "providers.view_attemptrollup"

    def has_permission(self, request: Request, view: "APIView") -> bool:
        may_view = request.user.is_staff and request.user.has_perm(self.staff_permission)
        if may_view or isinstance(request.auth, Token) or is_developer(request):
            return True
        if not request.user.is_authenticated:
            raise NotAuthenticated(self.message)  # a plain False would give a 401 that does not say what to do
        return False


def is_developer(request: Request) -> bool:
    """Return whether the request comes from this machine, and DEBUG is on."""
    return (
        settings.DEBUG
        and request.META.get("REMOTE_ADDR") in LOOPBACK
        and not any(header in request.META for header in PROXY_HEADERS)
    )
