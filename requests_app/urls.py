"""URLs of the webhooks that providers call."""

from django.urls import path

from requests_app.webhooks import provider_callback

urlpatterns = [path("<slug:slug>/", provider_callback, name="provider_callback")]
