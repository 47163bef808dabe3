"""The addresses of requests, AI models and accounts, each with and without a slash at its end."""

from providers.api.urls import record_urls
from requests_app.api.views import AccountViewSet, AIModelViewSet, RequestViewSet

urlpatterns = record_urls([RequestViewSet, AIModelViewSet, AccountViewSet])
