"""The webhook that providers call when a job has ended: verify, wake the request, answer. No network call."""

import logging
import time

from django.core.exceptions import RequestDataTooBig
from django.db import Error as AnyDatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from providers.access import callback_secret
from providers.chain.provider_callbacks import match_callback
from providers.registry import PROVIDERS
from providers.transport.json_fields import decode_any
from providers.transport.webhook_signatures import is_genuine, signing_key
from requests_app.services.execution import request_wake

logger = logging.getLogger("requests_app.webhooks")


@csrf_exempt
@require_POST
def provider_callback(request: HttpRequest, slug: str) -> HttpResponse:
    """Accept one callback. A 200 means that it was recorded, or that repeating it would not help."""
    spec = PROVIDERS.get(slug)
    if spec is None or spec.callback is None:
        raise Http404
    secret = callback_secret(slug)
    if not signing_key(secret):
        logger.error(
            "A callback was refused: %s is not set, or is not a webhook secret.", spec.callback.secret_variable
        )
        return HttpResponse(status=403)
    try:
        body = request.body
        if not is_genuine(request.headers, body, secret=secret, now=time.time()):
            return HttpResponse(status=403)
        _handle_callback(slug, request.GET.get("attempt", ""), body)
    except RequestDataTooBig:
        return HttpResponse(status=413)
    except UnreadablePostError:
        return HttpResponse(status=400)
    except AnyDatabaseError as error:
        logger.error("A callback was lost (%s); the job is polled all the same.", type(error).__name__)
        return HttpResponse(status=503)
    return HttpResponse()


def _handle_callback(slug: str, signed_attempt: str, body: bytes) -> None:
    try:
        job = decode_any(body.decode("utf-8", "replace"))
    except ValueError:
        return  # signed, but unknown to us: repeating it would not help
    request_id = match_callback(provider=slug, signed_attempt=signed_attempt, body=job)
    if request_id and request_wake(request_id=request_id):
        logger.info("%s reports that the job of %s has ended.", PROVIDERS[slug].label, request_id)
