"""Middleware of the project."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotFound

NUL = ("\x00", "%00")


def refuse_nul(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer 404 where an address contains a NUL: no row and no file has one, and PostgreSQL and the disk refuse it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        address = request.path_info + request.META.get("QUERY_STRING", "")
        if any(nul in address for nul in NUL):
            return HttpResponseNotFound("Not found: the address contains a NUL character.", content_type="text/plain")
        return get_response(request)

    return middleware
