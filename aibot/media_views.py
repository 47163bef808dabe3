"""Outputs and files that users have sent, for operators, whichever storage they are in."""

from mimetypes import guess_type

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from providers.db import give_back_connection
from providers.statistics.permissions import StaffOrToken, is_developer


class MayViewRequests(StaffOrToken):
    """Allows those who may view the request that a file belongs to.

    A scraper's token is not enough: the names of files that users have sent can be guessed, because they count
    Telegram's updates.
    """

    staff_permission = "requests_app.view_request"

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not super().has_permission(request, view):
            return False
        return request.user.has_perm(self.staff_permission) or is_developer(request)


class MediaView(APIView):
    """One file. Its content type follows from its name, which was given when its bytes were checked."""

    permission_classes = [MayViewRequests]

    @extend_schema(exclude=True)
    def get(self, request: Request, name: str) -> FileResponse:
        give_back_connection()  # a bucket may be slow
        try:
            file = default_storage.open(name)
        except (OSError, SuspiciousFileOperation) as error:
            raise Http404 from error
        return FileResponse(file, content_type=guess_type(name)[0] or "application/octet-stream")
