"""The shipped roles: made by `migrate`, filled as permissions come, and never against what the owner has decided."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from aibot.models import Role
from aibot.roles import ROLES, roles_sync
from requests_app.models import VIEW_PROMPTS
from telegram_bot.models import TelegramUpdate
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_request
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db


def permissions_of(role: str) -> set[str]:
    of_role = Permission.objects.filter(group__name=role)
    return {f"{app}.{name}" for app, name in of_role.values_list("content_type__app_label", "codename")}


def member(role: str) -> Client:
    """Return the client of somebody who has this role and nothing else."""
    user = User.objects.create_user(f"a-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def sync() -> None:
    roles_sync(using="default", apps=apps)


class TestWhatTheyMayDo:
    def test_the_owner_everything(self):
        assert len(permissions_of("owner")) == Permission.objects.count()

    def test_the_operator_the_operation_but_neither_users_nor_tokens(self):
        may = permissions_of("operator")

        assert {"providers.change_providerconfig", "requests_app.add_credits", VIEW_PROMPTS} <= may
        assert not [name for name in may if name.startswith(("auth.", "authtoken.", "admin.", "sessions."))]
        assert not [name for name in may if "apitoken" in name or "role" in name]

    def test_support_sees_no_prompts_and_changes_no_money_by_hand(self):
        may = permissions_of("support")

        assert {"requests_app.view_request", "requests_app.refund_requests", "requests_app.change_account"} <= may
        assert may.isdisjoint({VIEW_PROMPTS, "requests_app.add_credits", "telegram_bot.view_telegramupdate"})
        assert "requests_app.retry_requests" not in may
        assert not [name for name in may if ".add_" in name or ".delete_" in name]

    def test_the_auditor_sees_everything_and_changes_nothing(self):
        may = permissions_of("auditor")

        assert {"requests_app.view_ledgerentry", "auth.view_user", "aibot.view_apitoken", VIEW_PROMPTS} <= may
        assert all(".view_" in name for name in may)


class TestSync:
    def test_a_fresh_database_has_them(self):
        assert (
            set(Group.objects.values_list("name", flat=True))
            == set(ROLES)
            == {role.name for role in Role.objects.all()}
        )

    def test_nothing_happens_twice(self, django_assert_max_num_queries):
        before = {role: permissions_of(role) for role in ROLES}

        with django_assert_max_num_queries(5):
            sync()

        assert {role: permissions_of(role) for role in ROLES} == before

    def test_a_permission_of_a_later_release_is_added(self):
        of_request = Permission.objects.get(codename="view_request").content_type
        Permission.objects.create(codename="view_later", content_type=of_request)

        sync()

        assert [role for role in ROLES if "requests_app.view_later" in permissions_of(role)] == [
            "owner",
            "operator",
            "auditor",
        ]

    def test_what_the_owner_has_taken_away_stays_away(self):
        Group.objects.get(name="support").permissions.remove(Permission.objects.get(codename="change_account"))
        Group.objects.get(name="auditor").delete()

        call_command("migrate", verbosity=0)

        assert "requests_app.change_account" not in permissions_of("support")
        assert not Group.objects.filter(name="auditor").exists()

    def test_a_group_of_the_same_name_from_before_gets_nothing(self):
        Role.objects.all().delete()
        Group.objects.all().delete()
        Group.objects.create(name="owner")

        sync()

        assert permissions_of("owner") == set()
        assert Role.objects.get(name="owner").group is None
        assert permissions_of("support")


class TestTheUpgrade:
    @pytest.mark.parametrize(
        ("app", "number", "before", "after"),
        [
            ("requests_app", "0020_roles_and_api", "view_request", {"view_prompts"}),
            ("requests_app", "0020_roles_and_api", "add_credits", {"refund_requests"}),
            ("telegram_bot", "0013_prompts_in_updates", "view_telegramupdate", {"view_prompts"}),
            ("requests_app", "0020_roles_and_api", "view_account", set()),
        ],
    )
    def test_staff_with_permissions_of_its_own_keeps_what_it_saw(self, app, number, before, after):
        permission = Permission.objects.get(codename=before)
        clerk, helpers = User.objects.create_user("clerk", is_staff=True), Group.objects.create(name="helpers")
        clerk.user_permissions.add(permission)
        helpers.permissions.add(permission)
        migration = import_module(f"{app}.migrations.{number}")

        migration.keep_prompts_visible(apps, SimpleNamespace(connection=connection))

        for holder in (clerk.user_permissions, helpers.permissions):
            assert set(holder.values_list("codename", flat=True)) == {before} | after

    def test_whoever_could_ask_anew_still_can_but_for_support(self):
        change = Permission.objects.get(codename="change_request")
        clerk, helpers = User.objects.create_user("clerk", is_staff=True), Group.objects.create(name="helpers")
        clerk.user_permissions.add(change)
        helpers.permissions.add(change)
        Permission.objects.get(codename="retry_requests").delete()
        migration = import_module("aibot.migrations.0007_retry_permission")

        migration.keep_retries_possible(apps, SimpleNamespace(connection=connection))

        may = {name for name in ("support", "operator") if "requests_app.retry_requests" in permissions_of(name)}
        assert may == {"operator"}
        for holder in (clerk.user_permissions, helpers.permissions):
            assert set(holder.values_list("codename", flat=True)) == {"change_request", "retry_requests"}

    def test_a_role_that_may_not_act_any_more_does_not_begin_to_ask_anew(self):
        asking = Permission.objects.get(codename="retry_requests")
        operator = Role.objects.get(name="operator")
        operator.group.permissions.remove(asking, Permission.objects.get(codename="change_request"))
        operator.granted.remove("requests_app.retry_requests")  # as it was before there was this permission
        operator.save()
        migration = import_module("aibot.migrations.0007_retry_permission")

        migration.keep_retries_possible(apps, SimpleNamespace(connection=connection))
        roles_sync(using="default", apps=apps)

        assert "requests_app.retry_requests" not in permissions_of("operator")


class TestSupportWithoutPrompts:
    """The canary is in every place where a user's words or an answer are kept."""

    @pytest.fixture
    def request_id(self) -> str:
        stored = {"name": "canary.png", "content_type": "image/png", "size": 5, "kind": "image"}
        request = make_request(
            status="COMPLETED",
            actual_provider="openai",
            completed_at="2026-11-28T00:00:00Z",
            input_text="canary-question",
            transcript="canary-transcript",
            options={"negative_prompt": "canary-option"},
            output_text="canary-answer",
            input_media=[stored],
            output_media=[stored],
        )
        update_ingest(message("canary-update"))
        return request.id

    @pytest.mark.parametrize(("role", "sees"), [("support", False), ("operator", True), ("auditor", True)])
    def test_pages_and_api_show_content_to_those_who_may_see_it(self, request_id, role, sees):
        client = member(role)
        update = TelegramUpdate.objects.get()
        pages = {
            f"/admin/requests_app/request/{request_id}/change/": sees,
            "/admin/requests_app/request/": False,
            f"/admin/requests_app/request/?q={request_id}": False,
            f"/api/requests/{request_id}": sees,
            "/api/requests": False,
            f"/admin/telegram_bot/telegramupdate/{update.pk}/change/": sees,
        }

        shown = {page: "canary" in client.get(page).content.decode() for page in pages}

        assert shown == pages

    def test_an_update_is_readable_without_its_content(self, request_id):
        clerk = User.objects.create_user("clerk", is_staff=True)
        clerk.user_permissions.add(Permission.objects.get(codename="view_telegramupdate"))
        client = Client()
        client.force_login(clerk)

        page = client.get(f"/admin/telegram_bot/telegramupdate/{TelegramUpdate.objects.get().pk}/change/")

        assert page.status_code == 200
        assert "canary" not in page.content.decode()

    def test_support_may_refund_an_answer_but_add_no_credits(self, request_id):
        page = member("support").get("/admin/requests_app/request/").content.decode()

        assert 'value="refund"' in page
        assert 'value="cancel"' in page
