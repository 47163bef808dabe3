"""Telegram's webhook: verify the caller, store the update, respond. No network call, nothing that takes time."""

import logging

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import Error as AnyDatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from telegram_bot.updates.ingest import UpdateMalformed, update_ingest, update_parse

logger = logging.getLogger("telegram_bot.webhook")

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 — the header's name
RETRY_SECONDS = 5  # Telegram honours this header, and repeats an update for a day


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Receive one update. A 200 means that it is committed, or that sending it again would not help."""
    secret = settings.TELEGRAM_WEBHOOK_SECRET
    if not secret:
        logger.error("The webhook refuses every update: TELEGRAM_WEBHOOK_SECRET is not set.")
        return HttpResponse(status=403)
    if not constant_time_compare(request.headers.get(SECRET_HEADER, ""), secret):
        return HttpResponse(status=403)
    try:
        update_ingest(update_parse(request.body))
    except RequestDataTooBig:
        return HttpResponse(status=413)
    except UnreadablePostError:
        return HttpResponse(status=400)
    except UpdateMalformed as error:
        logger.warning("An update was dropped: %s.", error)
    except AnyDatabaseError as error:
        logger.error("An update could not be stored (%s); Telegram will send it again.", type(error).__name__)
        return HttpResponse(status=503, headers={"Retry-After": str(RETRY_SECONDS)})
    return HttpResponse()
