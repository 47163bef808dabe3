"""The addresses of attempts and routes, each with and without a slash at its end."""

from collections.abc import Iterable

from django.urls import URLPattern, URLResolver
from rest_framework.routers import SimpleRouter

from providers.api.views import AttemptViewSet, RouteViewSet
from providers.api.viewsets import RecordViewSet


def record_urls(viewsets: Iterable[type[RecordViewSet]]) -> list[URLPattern | URLResolver]:
    """Return the addresses of lists, each with and without a slash at its end."""
    patterns: list[URLPattern | URLResolver] = []
    for trailing_slash in (True, False):
        router = SimpleRouter(trailing_slash=trailing_slash, use_regex_path=False)
        for viewset in viewsets:
            router.register(viewset.list_name, viewset, basename=viewset.list_name)
        patterns += router.urls
    return patterns


urlpatterns = record_urls([AttemptViewSet, RouteViewSet])
