"""kill -9 of every worker while videos are being generated: the same jobs finish, and none is submitted twice."""

import pytest
from django.core.files.storage import FileSystemStorage
from django.db.models import Count

from providers.models import Attempt
from requests_app.models import LedgerEntry, Request
from requests_app.services.intake import request_accept
from tests.factories import make_account, make_model, make_provider
from tests.fakes.replicate import KEY, VIDEO, running_replicate
from tests.flows.processes import sweeper, wait_until, worker

pytestmark = pytest.mark.django_db(transaction=True)

VIDEOS = 10


def test_ten_jobs_survive_the_death_of_every_worker(settings):
    settings.MAX_OPEN_REQUESTS = VIDEOS
    make_provider("replicate", category="VIDEO", model="kwaivgi/kling-v3-video", timeout_seconds=900)
    model = make_model(category="VIDEO", token_cost=5)
    account = make_account(credits=1000)
    with running_replicate() as replicate:
        variables = {"REPLICATE_API_TOKEN": KEY, "REPLICATE_BASE_URL": replicate.url}
        with sweeper(**variables):
            with worker(**variables) as first, worker(**variables) as second:
                for number in range(VIDEOS):
                    request_accept(intake_key=f"video:{number}", account=account, model=model, text=f"Video {number}")
                wait_until(lambda: Attempt.objects.filter(state="RUNNING").count() == VIDEOS, "ten jobs under way")
                for victim in (first, second):
                    victim.kill()
                    victim.wait()
            before = set(Attempt.objects.values_list("job_id", flat=True))
            replicate.finish.set()
            with worker(**variables):
                wait_until(lambda: not Request.objects.filter(status__in=Request.OPEN).exists(), "ten videos")

    assert set(Request.objects.values_list("status", flat=True)) == {"COMPLETED"}
    assert set(Attempt.objects.values_list("job_id", flat=True)) == before == set(replicate.jobs)
    assert len(replicate.jobs) == Attempt.objects.count() == VIDEOS
    files = [request.output_media[0]["name"] for request in Request.objects.all()]
    assert len(set(files)) == VIDEOS
    assert all(FileSystemStorage(settings.MEDIA_ROOT).open(name).read() == VIDEO for name in files)
    kinds = dict(LedgerEntry.objects.exclude(kind="TOPUP").values_list("kind").annotate(Count("id")))
    assert kinds == {"HOLD": VIDEOS, "CAPTURE": VIDEOS}
