"""Outputs and files that users have sent, for operators, whichever storage they are in."""

from mimetypes import guess_type

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404
from drf_spectacular.utils import extend_schema
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from providers.db import give_back_connection
from providers.statistics.permissions import is_developer, may
from requests_app.models import VIEW_PROMPTS


class MayViewContent(BasePermission):
    """Allows those who may view the request that a file belongs to, and what users wrote and received.

    A scraper's token is not enough: the names of files that users have sent can be guessed, because they count
    Telegram's updates. One of an earlier release has no scopes, so its user's permissions decide.
    """

    permissions = ("requests_app.view_request", VIEW_PROMPTS)

    def has_permission(self, request: Request, view: APIView) -> bool:
        if may(request, *self.permissions) or is_developer(request):
            return True
        if not request.user.is_authenticated:
            raise NotAuthenticated("Log in to the admin as staff that may view requests and what users wrote.")
        return isinstance(request.auth, Token) and request.user.has_perms(self.permissions)


class MediaView(APIView):
    """One file. Its content type follows from its name, which was given when its bytes were checked."""

    permission_classes = [MayViewContent]

    @extend_schema(exclude=True)
    def get(self, request: Request, name: str) -> FileResponse:
        give_back_connection()  # a bucket may be slow
        try:
            file = default_storage.open(name)
        except (OSError, SuspiciousFileOperation) as error:
            raise Http404 from error
        return FileResponse(file, content_type=guess_type(name)[0] or "application/octet-stream")
