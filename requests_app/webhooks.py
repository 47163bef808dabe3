"""The address that Replicate calls when a job is over: check who calls, wake the request, answer. No network call."""

import logging
import time

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import Error as AnyDatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from providers.chain.provider_callbacks import match_callback
from providers.transport.json_fields import decode_any
from providers.transport.webhook_signatures import is_genuine, signing_key
from requests_app.services.waking import request_wake

logger = logging.getLogger("requests_app.webhooks")


@csrf_exempt
@require_POST
def replicate(request: HttpRequest) -> HttpResponse:
    """Take one call in. A 200 means that it was heard, or that making it again would not help."""
    secret = settings.REPLICATE_WEBHOOK_SECRET
    if not signing_key(secret):
        logger.error("A call about a job was refused: REPLICATE_WEBHOOK_SECRET is not set, or not a webhook's secret.")
        return HttpResponse(status=403)
    try:
        body = request.body
        if not is_genuine(request.headers, body, secret=secret, now=time.time()):
            return HttpResponse(status=403)
        _handle_callback(request.GET.get("attempt", ""), body)
    except RequestDataTooBig:
        return HttpResponse(status=413)
    except UnreadablePostError:
        return HttpResponse(status=400)
    except AnyDatabaseError as error:
        logger.error("A call about a job was lost (%s); the job is asked for all the same.", type(error).__name__)
        return HttpResponse(status=503)
    return HttpResponse()


def _handle_callback(attempt_id: str, body: bytes) -> None:
    try:
        job = decode_any(body.decode("utf-8", "replace"))
    except ValueError:
        return  # signed, and yet nothing that we know: the same again would be no better
    request_id = match_callback(provider="replicate", attempt_id=attempt_id, job=job)
    if request_id and request_wake(request_id=request_id):
        logger.info("Replicate says that the job of %s is over.", request_id)
