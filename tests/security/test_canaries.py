"""Canary keys and a canary prompt go all the way from the chat to the chat, and are found only where they belong."""

import pytest
from django.conf import LazySettings
from django.urls import reverse
from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter

from providers.access import accounts_of
from providers.models import Attempt, ProviderConfig, ProviderHealth
from providers.reconciliation.services import account_ask, accounts_due
from providers.registry import PROVIDERS
from providers.sandbox import Sandbox, running_sandbox
from providers.sandbox.faults import InjectedFault
from providers.types import Access, Category
from requests_app.models import AIModel, Request, WorkerHeartbeat
from requests_app.services.execution import request_advance
from telegram_bot.models import TelegramUpdate
from tests.factories import make_model, make_provider
from tests.sandboxes import SHIPPED
from tests.security.canaries import CHAINS, PROMPT, WORD, admin_pages, columns_with, found_in
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db


# The prompt may be in the request and in the update that brought it, and nowhere else.
PROMPT_COLUMNS = {"requests.input_text", "telegram_bot_telegramupdate.raw"}
# The sandbox's answers quote the prompt.
ANSWER_COLUMNS = {"requests.output_text"}


def ask(say, category: Category) -> Request:
    """Send a prompt in the chat, and complete its request."""
    say(message(f"{PROMPT} for {category}"))
    request = Request.objects.latest("created_at")
    for _ in range(3):
        Request.objects.filter(id=request.id).update(next_at=None, lease_until=None)
        request_advance(request_id=request.id)
    request.refresh_from_db()
    return request


def offer(category: Category, *, is_shipped: bool = False, timeout_seconds: int = 1) -> None:
    """Offer one AI model of this category, and put its chain in order."""
    AIModel.objects.update(enabled=False)
    make_model(category=category, token_cost=1)
    ProviderConfig.objects.filter(category=category).update(enabled=False)
    for priority, slug in enumerate(CHAINS[category], start=1):
        model = {"model": SHIPPED[category.value, slug]} if is_shipped else {}
        make_provider(
            slug, category=category, priority=priority, enabled=True, timeout_seconds=timeout_seconds, **model
        )


def ask_leaky_providers(say) -> None:
    for category in CHAINS:
        offer(category)
        ask(say, category)
    assert Attempt.objects.exclude(error_text="").count() > len(CHAINS)  # they did leak


def own_pages() -> set[str]:
    """Return the pages that show a prompt: its request's, and that of the update that brought it."""
    own = {reverse("admin:requests_app_request_change", args=[request.id]) for request in Request.objects.all()}
    return own | {
        reverse("admin:telegram_bot_telegramupdate_change", args=[update.pk]) for update in TelegramUpdate.objects.all()
    }


def assert_on_no_other_page(admin_client, secrets: list[str]) -> None:
    own = own_pages()
    for address, page in admin_pages(admin_client):
        assert found_in(page, secrets) == [], address
        assert address in own or not found_in(page, [WORD]), address


class TestProvidersThatLeakEverything:
    """Each provider of the chain fails in another way and sends back everything it was sent."""

    def test_no_log_table_page_or_wake_up_message_contains_it(
        self, say, enqueued, leaky_servers, canaries, log, admin_client
    ):
        ask_leaky_providers(say)

        assert columns_with([*canaries, WORD]) == {WORD: PROMPT_COLUMNS}
        assert "✗ aimlapi failed for TEXT" in log.text
        assert found_in(log.text, [*canaries, WORD]) == []
        assert found_in(repr(enqueued), [*canaries, WORD]) == []
        assert_on_no_other_page(admin_client, canaries)

    def test_no_statistics_or_metrics_contain_it(self, say, enqueued, leaky_servers, canaries, admin_client):
        ask_leaky_providers(say)
        WorkerHeartbeat.objects.create(name="a", kind="worker", queues="chat,media,text")

        addresses = ["/metrics", "/readyz?verbose", "/healthz", "/api/schema/", "/api/docs/", "/api/providers/stats"]
        addresses += [
            f"/api/providers/{kind}/{category}" for kind in ("stats", "cost", "recommended") for category in CHAINS
        ]
        for address in addresses:
            shown = admin_client.get(address)
            assert shown.status_code == 200
            assert found_in(shown.content.decode(), [*canaries, WORD]) == [], address

    def test_the_chat_shows_nothing_of_it(self, say, enqueued, leaky_servers, canaries, fake):
        ask_leaky_providers(say)

        shown = "\n".join(version for message in fake.chat(42).messages for version in message.versions)
        assert shown
        assert found_in(shown, [*canaries, WORD]) == []


class TestAccountsThatLeakEverything:
    def test_no_log_table_or_page_contains_a_key(self, leaky_servers, canaries, log, admin_client):
        asked = [account_ask(api=api, with_charges=with_charges) for api, with_charges in accounts_due()]

        assert len(asked) == len([slug for slug in PROVIDERS if accounts_of(slug)]) > 5
        assert "did not tell its account" in log.text
        assert found_in(log.text, canaries) == []
        assert columns_with(canaries) == {}
        page = admin_client.get(reverse("admin:providers_attemptrollup_reconciliation")).content.decode()
        assert "HTTP 4" in page
        assert found_in(page, canaries) == []


class TestSandboxFaults:
    @pytest.fixture
    def sandbox(self, settings: LazySettings, canaries, monkeypatch):
        with running_sandbox(video_seconds=0) as sandbox:
            settings.SANDBOX_ACTIVE = True
            settings.PROVIDER_ACCESS = {
                slug: Access(f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{spec.base_path}")
                for slug, spec in PROVIDERS.items()
            }
            keys = [access.key for access in settings.PROVIDER_ACCESS.values()]
            settings.SECRETS = [*keys, *settings.SECRETS]
            canaries += keys
            monkeypatch.setattr("providers.chain.fallback.poll_delay_seconds", lambda provider, age_seconds: 0)
            yield sandbox

    @pytest.mark.parametrize("shift", [0, 3])
    def test_a_prompt_passes_every_fault_on_its_way_to_an_answer(
        self, say, enqueued, sandbox, canaries, log, admin_client, shift
    ):
        chain = CHAINS[Category.TEXT]
        offer(Category.TEXT, is_shipped=True)
        self.break_all_but_the_last(sandbox, shift)

        first = ask(say, Category.TEXT)
        ProviderHealth.objects.all().delete()  # so that the second prompt, with the first as its history, fails alike
        second = ask(say, Category.TEXT)

        assert [first.actual_provider, second.actual_provider] == [chain[-1]] * 2
        assert Attempt.objects.exclude(state="OK").count() == 2 * (len(chain) - 1)
        assert columns_with([*canaries, WORD]) == {WORD: PROMPT_COLUMNS | ANSWER_COLUMNS}
        assert found_in(log.text, canaries) == []
        assert found_in(log.unpinned, [WORD]) == []
        assert_on_no_other_page(admin_client, canaries)

    def break_all_but_the_last(self, sandbox: Sandbox, shift: int) -> None:
        faults = list(InjectedFault)
        for place, slug in enumerate(CHAINS[Category.TEXT][:-1]):
            sandbox.break_provider(slug, faults[(place + shift) % len(faults)])

    @pytest.mark.parametrize("is_broken", [False, True])
    def test_an_output_is_stored_in_a_bucket(
        self, say, enqueued, sandbox, bucket, canaries, log, admin_client, is_broken
    ):
        offer(Category.IMAGE, is_shipped=True, timeout_seconds=60)
        bucket.is_broken = is_broken

        request = ask(say, Category.IMAGE)

        assert request.status == ("PROCESSING" if is_broken else "COMPLETED")  # a job, whose output is fetched again
        assert bool(bucket.objects) is not is_broken
        assert columns_with([*canaries, WORD]) == {WORD: PROMPT_COLUMNS}
        assert found_in(log.text, canaries) == []
        assert found_in(log.unpinned, [WORD]) == []
        assert_on_no_other_page(admin_client, canaries)


def test_the_settings_in_an_error_report_contain_no_secret(canaries, bucket):
    shown = get_default_exception_reporter_filter()

    assert isinstance(shown, SafeExceptionReporterFilter)
    assert found_in(repr(shown.get_safe_settings()), canaries) == []
