"""URLs of the webhooks that providers call: with and without the slash, because a POST cannot follow a redirect."""

from django.urls import path

from requests_app.webhooks import provider_callback

urlpatterns = [
    path("<slug:slug>/", provider_callback, name="provider_callback"),
    path("<slug:slug>", provider_callback),
]
