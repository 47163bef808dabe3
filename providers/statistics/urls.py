"""The statistics' addresses, each with and without a slash at its end."""

from rest_framework.routers import SimpleRouter

from providers.statistics.views import CostViewSet, RecommendedViewSet, StatsViewSet

app_name = "providers"


def _router(*, trailing_slash: bool) -> SimpleRouter:
    router = SimpleRouter(trailing_slash=trailing_slash, use_regex_path=False)
    router.register("stats", StatsViewSet, basename="stats")
    router.register("cost", CostViewSet, basename="cost")
    router.register("recommended", RecommendedViewSet, basename="recommended")
    return router


urlpatterns = [*_router(trailing_slash=True).urls, *_router(trailing_slash=False).urls]
