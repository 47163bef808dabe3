"""Two hundred threads that wait for providers share twenty connections, and leave some for a command."""

import pytest

from requests_app.models import Request
from requests_app.services.intake import request_accept
from telegram_bot import texts
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_account, make_model
from tests.flows.processes import wait_until, worker
from tests.telegram_bot.updates import message

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]

HANGING = 170  # an eighth of the slots is kept for the chat, and another for media


def test_while_every_provider_hangs_a_command_is_answered(telegram, sandbox, variables, settings):
    settings.MAX_OPEN_REQUESTS = HANGING
    sandbox.break_provider("aimlapi", "hang")
    model, account = make_model(), make_account(credits=HANGING)
    for number in range(HANGING):
        request_accept(intake_key=f"k{number}", account=account, model=model, text="Hello", wakes_worker=False)
    # Leases as in production: 170 of them are renewed by one thread.
    with worker(WORKER_CONCURRENCY="200", DATABASE_POOL_SIZE="20", LEASE_SECONDS="15", **variables):
        under_way = Request.objects.filter(status="PROCESSING", fence=1)
        wait_until(lambda: under_way.count() >= 0.75 * HANGING, "the calls under way")
        update_ingest(message("/help"))
        wait_until(lambda: texts.HELP in telegram.chat(42).texts, "the reply to the command")

        assert not Request.objects.filter(fence__gt=1).exists(), "no lease was lost"
