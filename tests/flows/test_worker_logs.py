"""The worker's log shows each step of a request, as the operator's terminal shows it."""

import pytest

from providers.sandbox import running_sandbox
from requests_app.models import Request
from requests_app.services.intake import request_accept
from tests.factories import make_account, make_model, make_provider
from tests.flows.processes import sweeper, wait_until, worker

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_worker_logs_which_providers_were_tried_and_which_one_served(tmp_path):
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    log = tmp_path / "worker.log"
    with running_sandbox() as sandbox, log.open("wb") as stderr:
        request = request_accept(intake_key="k", account=make_account(credits=5), model=make_model(), text="A canary")
        with worker(stderr=stderr, SANDBOX_URL=sandbox.url) as process, sweeper(SANDBOX_URL=sandbox.url):
            wait_until(lambda: not Request.objects.filter(status__in=Request.OPEN).exists(), "the end")
            process.terminate()
            process.wait(timeout=30)

    lines = log.read_text()
    assert "Trying aimlapi for TEXT" in lines
    assert f"Request {request.id} served by provider: aimlapi" in lines
    assert "canary" not in lines
