"""The addresses of the analyses, each with and without a slash at its end."""

from rest_framework.routers import SimpleRouter

from requests_app.analytics.views import CostsViewSet, FallbacksViewSet, MarginsViewSet, SuccessRatesViewSet

app_name = "analytics"


def _router(*, trailing_slash: bool) -> SimpleRouter:
    router = SimpleRouter(trailing_slash=trailing_slash, use_regex_path=False)
    router.register("success-rates", SuccessRatesViewSet, basename="success-rates")
    router.register("fallbacks", FallbacksViewSet, basename="fallbacks")
    router.register("margins", MarginsViewSet, basename="margins")
    router.register("costs", CostsViewSet, basename="costs")
    return router


urlpatterns = [*_router(trailing_slash=True).urls, *_router(trailing_slash=False).urls]
