"""What `manage.py check` says about providers."""

from dataclasses import replace

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import DatabaseError

from providers.checks import check_keys, check_registry, check_sandbox
from providers.models import ProviderConfig
from providers.registry import PROVIDERS, provider_class
from providers.types import Access, Category


def give_keys(settings, *providers: str) -> None:
    settings.PROVIDER_ACCESS = {
        slug: Access("key" if slug in providers else "", access.base_url)
        for slug, access in settings.PROVIDER_ACCESS.items()
    }


def test_every_shipped_provider_can_be_imported():
    assert check_registry() == []


def test_a_path_that_leads_nowhere_is_an_error_that_names_it(monkeypatch):
    broken = replace(PROVIDERS["openai"], backends={Category.TEXT: "providers.backends.nowhere.Nothing"})
    monkeypatch.setattr("providers.checks.PROVIDERS", {"openai": broken})
    monkeypatch.setattr("providers.registry.PROVIDERS", {"openai": broken})
    provider_class.cache_clear()

    (message,) = check_registry()

    assert message.id == "providers.E001"
    assert "OpenAI for TEXT cannot be imported" in message.msg
    assert "providers.backends.nowhere.Nothing" in message.hint


@pytest.mark.django_db
class TestKeys:
    def test_enabled_providers_without_a_key_are_named_with_their_variables(self, settings):
        ProviderConfig.objects.exclude(provider__in=["openai", "xai"]).delete()
        give_keys(settings, "openai")

        (message,) = check_keys(databases=["default"])

        assert message.id == "providers.W001"
        assert message.msg == "Enabled, but skipped for want of a key: xAI."
        assert message.hint == "Set XAI_API_KEY, or switch them off in the admin."

    def test_all_keyed_or_switched_off_is_fine(self, settings):
        give_keys(settings, "openai")
        ProviderConfig.objects.exclude(provider="openai").update(enabled=False)

        assert check_keys(databases=["default"]) == []

    def test_a_plain_check_leaves_the_database_alone(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            messages = run_checks()

        assert "providers.W001" not in [message.id for message in messages]

    def test_a_check_of_the_database_warns(self, capsys):
        call_command("check", databases=["default"])

        assert "providers.W001" in capsys.readouterr().err


def test_before_the_first_migration_it_says_nothing(monkeypatch):
    def fail(*_, **__):
        raise DatabaseError("no such table")

    monkeypatch.setattr("django.db.models.query.QuerySet.values_list", fail)

    assert check_keys(databases=["default"]) == []


class TestSandbox:
    def test_it_is_a_warning_where_real_users_are_served(self, settings):
        settings.SANDBOX_URL, settings.SANDBOX_ACTIVE = "http://127.0.0.1:9", True

        (message,) = check_sandbox()

        assert message.id == "providers.W002"
        assert message.msg == "SANDBOX_URL is set although DEBUG is off. Answers are invented."

    def test_it_belongs_to_debugging(self, settings):
        settings.SANDBOX_URL, settings.DEBUG = "http://127.0.0.1:9", True

        assert check_sandbox() == []
