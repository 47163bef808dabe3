"""Retention: content is erased and rows are deleted after their days; the ledger, the sums and what is young stay."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from providers.models import Attempt
from providers.statistics.rollups import fold_attempts
from providers.statistics.selectors import provider_stats
from requests_app.analytics.rollups import fold_requests
from requests_app.models import ERASED, LedgerEntry, Request, RequestEvent
from requests_app.selectors import history_of
from requests_app.services import retention
from requests_app.services.faulty_rows import FaultyRows
from requests_app.services.leases import lease_claim
from requests_app.services.retention import content_erase, sweep_retention
from tests.factories import make_attempt, make_request
from tests.telegram_bot.rows import make_delivery

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _afresh(monkeypatch, settings):
    monkeypatch.setattr(retention, "_erased_until", None)
    settings.RETENTION_CONTENT_DAYS, settings.RETENTION_ROWS_DAYS = 30, 365


def ago(days: float):
    return timezone.now() - timedelta(days=days)


def old_request(days: float, **fields) -> Request:
    return make_request(
        **{
            "status": "COMPLETED",
            "actual_provider": "openai",
            "input_text": "a canary",
            "output_text": "it sings",
            "created_at": ago(days),
            "completed_at": ago(days),
            **fields,
        }
    )


def stored(name: str) -> dict[str, str]:
    return {"name": default_storage.save(name, ContentFile(b"content")), "content_type": "image/png"}


def test_content_is_erased_with_its_files_and_what_is_younger_stays():
    picture = stored("outputs/retention.png")
    old, young = old_request(31, output_media=[picture]), old_request(29)

    assert sweep_retention() == 1
    assert sweep_retention() == 0

    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.input_text, old.output_text, old.output_media) == (ERASED, ERASED, [])
    assert not default_storage.exists(picture["name"])
    assert (young.input_text, young.output_text) == ("a canary", "it sings")


def test_rows_are_deleted_and_the_ledger_and_the_sums_stay():
    picture = stored("prompts/retention.png")
    old = old_request(366, input_media=[picture])
    RequestEvent.objects.create(request=old, to_status="PENDING", actor="test")
    make_delivery(request=old)
    make_attempt(caller_key=old.id, created_at=ago(366), cost=Decimal(1))
    fold_attempts()
    fold_requests()
    waiting = old_request(366)
    calls = make_attempt(caller_key=waiting.id, created_at=ago(366), rolled_up=True)
    not_counted = make_attempt(created_at=ago(366), cost=Decimal(1))
    entries = LedgerEntry.objects.filter(request_id=old.id).count()

    sweep_retention()

    assert not Request.objects.filter(id=old.id).exists()
    assert not default_storage.exists(picture["name"])
    assert LedgerEntry.objects.filter(request_id=old.id).count() == entries
    assert sum(stats.total_cost for stats in provider_stats()) == 2
    # What the sums have not counted yet stays, and so does what they will count it by.
    assert set(Attempt.objects.values_list("id", flat=True)) == {calls.id, not_counted.id}
    assert Request.objects.filter(id=waiting.id).exists()


def test_an_open_request_is_left_alone_however_old_it_is():
    request = make_request(created_at=ago(400), input_text="a canary")

    assert sweep_retention() == 0
    assert content_erase(requests=Request.objects.all()) == 0

    request.refresh_from_db()
    assert request.input_text == "a canary"


def test_without_days_nothing_is_erased(settings):
    settings.RETENTION_CONTENT_DAYS = settings.RETENTION_ROWS_DAYS = 0
    old_request(4000)

    assert sweep_retention() == 0


def test_a_file_that_is_gone_already_holds_nobody_up():
    old_request(31, output_media=[{"name": "outputs/gone.png", "content_type": "image/png"}])

    assert sweep_retention() == 1


def test_a_round_ends_in_time_and_the_next_ones_go_on(monkeypatch):
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    monkeypatch.setattr(retention, "MAX_SECONDS", 0.0)
    for _ in range(5):
        old_request(31)
    assert sweep_retention() == 0

    monkeypatch.setattr(retention, "MAX_SECONDS", 60.0)
    assert sweep_retention() == 5


def test_what_was_erased_is_no_history_of_a_conversation():
    old = old_request(31, conversation="c")
    old_request(1, user=old.user, conversation="c", input_text="And then?", output_text="Then this.")
    sweep_retention()
    request = make_request(user=old.user, conversation="c")

    claim = lease_claim(request_id=request.id)

    assert claim
    _, claimed = claim
    assert [turn.text for turn in history_of(claimed)] == ["And then?", "Then this."]


def test_a_prompt_that_reads_like_the_mark_is_erased_like_any_other():
    old = old_request(31, input_text=ERASED, output_text="it sings")

    assert (sweep_retention(), sweep_retention()) == (1, 0)

    old.refresh_from_db()
    assert (old.output_text, old.content_erased_at is not None) == (ERASED, True)


@pytest.mark.parametrize("days", [31, 366])
def test_a_file_that_the_storage_does_not_delete_holds_up_no_other(monkeypatch, days):
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    monkeypatch.setattr(retention, "_faulty", FaultyRows())
    refused = [old_request(days + 5, output_media=[stored(f"outputs/refused{number}.png")]) for number in range(3)]
    others = [old_request(days), old_request(days, output_media=[stored("outputs/other.png")])]
    delete = default_storage.delete

    def refuse(name: str) -> None:
        if "refused" in name:
            raise PermissionError(name)
        delete(name)

    monkeypatch.setattr(default_storage, "delete", refuse)
    for _ in range(3):
        sweep_retention()

    left = Request.objects.filter(content_erased_at=None)
    assert set(left) == set(refused)
    assert not default_storage.exists(others[1].output_media[0]["name"])
