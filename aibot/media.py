"""Outputs that lie in the local folder, for operators; a cloud storage serves its own."""

from mimetypes import guess_type

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from providers.permissions import StaffOrToken


class MediaView(APIView):
    """One output. Its type follows from the name that we gave it when we had looked into it."""

    permission_classes = [StaffOrToken]

    @extend_schema(exclude=True)
    def get(self, request: Request, name: str) -> FileResponse:
        try:
            file = default_storage.open(name)
        except (OSError, SuspiciousFileOperation) as error:
            raise Http404 from error
        return FileResponse(file, content_type=guess_type(name)[0] or "application/octet-stream")
