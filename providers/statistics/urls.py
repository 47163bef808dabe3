"""The statistics' addresses, each with and without a slash at its end."""

from django.urls import URLPattern, path
from rest_framework.views import APIView

from providers.statistics.views import CategoryStatsView, CostView, RecommendedView, StatsView

app_name = "providers"


def _both(route: str, view: type[APIView], name: str) -> list[URLPattern]:
    # The schema lists one of the two.
    return [path(route, view.as_view(), name=name), path(f"{route}/", view.as_view(schema=None))]


urlpatterns = [
    *_both("stats", StatsView, "stats"),
    *_both("stats/<str:category>", CategoryStatsView, "category-stats"),
    *_both("cost/<str:category>", CostView, "cost"),
    *_both("recommended/<str:category>", RecommendedView, "recommended"),
]
