"""Where vendors call."""

from django.urls import path

from requests_app.webhooks import replicate

urlpatterns = [path("replicate/", replicate, name="replicate_hook")]
