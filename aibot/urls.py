"""The URLs of the project, without /healthz and /readyz, which the middleware answers."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from aibot.api_views import ApiRootView, UnknownAddressView
from aibot.media_views import MediaView
from aibot.metrics import MetricsView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/providers/", include("providers.statistics.urls")),
    path("api/analytics/", include("requests_app.analytics.urls")),
    path("api/", include("providers.api.urls")),
    path("api/", include("requests_app.api.urls")),
    path("telegram/", include("telegram_bot.urls")),
    path("hooks/", include("requests_app.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/schema", SpectacularAPIView.as_view()),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema")),
    path("api/", ApiRootView.as_view(), name="api-root"),
    path("api/<path:address>", UnknownAddressView.as_view()),
    path("media/<path:name>", MediaView.as_view(), name="media"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("metrics/", MetricsView.as_view()),
]
