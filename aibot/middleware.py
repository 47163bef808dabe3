"""Middleware of the project."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotFound

from aibot.health import healthz, readyz

NUL = ("\x00", "%00")


View = Callable[[HttpRequest], HttpResponse]
HEALTH: dict[str, View] = {"/healthz": healthz, "/readyz": readyz}


def answer_health_checks(get_response: View) -> View:
    """Answer /healthz and /readyz whatever the Host header says and whatever the scheme is, before anything else.

    Who checks a process asks it by its address, which is in no list of hosts.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        return HEALTH.get(request.path_info.removesuffix("/"), get_response)(request)

    return middleware


def refuse_nul(get_response: View) -> View:
    """Answer 404 where an address contains a NUL: no row and no file has one, and PostgreSQL and the disk refuse it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        address = request.path_info + request.META.get("QUERY_STRING", "")
        if any(nul in address for nul in NUL):
            return HttpResponseNotFound("Not found: the address contains a NUL character.", content_type="text/plain")
        return get_response(request)

    return middleware
