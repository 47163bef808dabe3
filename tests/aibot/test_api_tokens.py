"""Tokens of the API: made by whom, shown once, good for what, and until when."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import F
from django.utils import timezone
from rest_framework.authtoken.models import Token

from aibot.api_tokens import token_create, token_revoke
from aibot.models import PERMISSIONS_OF, ApiToken, Scope
from tests.factories import make_request

pytestmark = pytest.mark.django_db
PAGE = "/admin/aibot/apitoken/"
# What each scope opens, and nothing else does.
OPENED_BY = {
    Scope.STATISTICS: ["/api/providers/stats", "/metrics"],
    Scope.REQUESTS: ["/api/requests", "/api/attempts"],
    Scope.PROMPTS: [],  # on top of requests:read
    Scope.ACCOUNTS: ["/api/accounts"],
    Scope.ROUTES: ["/api/routes", "/api/models"],
}


@pytest.fixture
def owner() -> User:
    return User.objects.create_superuser("owner")


def headers_of(owner: User, *scopes: Scope, keyword: str = "Bearer", **fields) -> dict[str, str]:
    _, key = token_create(name="test", made_by=owner, scopes=scopes, **{"expires_at": None, **fields})
    return {"authorization": f"{keyword} {key}"}


class TestScopes:
    @pytest.mark.parametrize("scope", Scope)
    def test_a_scope_opens_its_own_addresses_alone(self, client, owner, scope):
        headers = headers_of(owner, scope)
        addresses = {address: each for each, opened in OPENED_BY.items() for address in opened}

        answers = {address: client.get(address, headers=headers).status_code for address in addresses}

        assert answers == {address: 200 if each is scope else 403 for address, each in addresses.items()}

    @pytest.mark.parametrize("scope", Scope)
    def test_every_scope_opens_what_says_which_addresses_there_are(self, client, owner, scope):
        headers = headers_of(owner, scope)

        assert {client.get(f"/api/{page}", headers=headers).status_code for page in ("", "schema/", "docs/")} == {200}

    @pytest.mark.parametrize("keyword", ["Token", "Bearer", "bearer"])
    def test_both_words_of_the_header_are_understood(self, client, owner, keyword):
        headers = headers_of(owner, Scope.ROUTES, keyword=keyword)

        assert client.get("/api/routes", headers=headers).status_code == 200

    def test_costs_by_user_need_the_scope_of_users(self, client, owner):
        address = "/api/analytics/costs?by=user"

        assert client.get(address, headers=headers_of(owner, Scope.STATISTICS)).status_code == 403
        both = headers_of(owner, Scope.STATISTICS, Scope.ACCOUNTS)
        assert client.get(address, headers=both).status_code == 200

    def test_prompts_need_a_scope_of_their_own(self, client, owner):
        request = make_request(input_text="canary")
        media = f"/media/{default_storage.save('prompts/1.png', ContentFile(b'png'))}"
        without, both = headers_of(owner, Scope.REQUESTS), headers_of(owner, Scope.REQUESTS, Scope.PROMPTS)

        assert client.get(f"/api/requests/{request.id}", headers=without).json()["content"] is None
        assert client.get(f"/api/requests/{request.id}", headers=both).json()["content"]["inputText"] == "canary"
        assert client.get(media, headers=without).status_code == 403
        assert client.get(media, headers=both).status_code == 200
        assert client.get(media, headers=headers_of(owner, Scope.PROMPTS)).status_code == 403

    def test_a_token_does_no_more_than_its_maker_may_now(self, client):
        clerk = User.objects.create_user("clerk", is_staff=True)
        view_account = Permission.objects.get(codename="view_account")
        clerk.user_permissions.add(view_account)
        headers = headers_of(clerk, Scope.ACCOUNTS)
        with pytest.raises(ValueError, match="no more than its maker"):
            headers_of(clerk, Scope.REQUESTS)
        ApiToken.objects.update(scopes=[*Scope.values])  # as if somebody had written it into the row

        assert client.get("/api/accounts", headers=headers).status_code == 200
        assert client.get("/api/requests", headers=headers).status_code == 403
        clerk.user_permissions.remove(view_account)
        assert client.get("/api/accounts", headers=headers).status_code == 403

    def test_every_permission_of_a_scope_exists(self):
        known = {f"{app}.{name}" for app, name in Permission.objects.values_list("content_type__app_label", "codename")}

        assert {permission for permissions in PERMISSIONS_OF.values() for permission in permissions} <= known
        assert PERMISSIONS_OF.keys() == set(Scope)


class TestTheEnd:
    def test_a_revoked_token_opens_nothing(self, client, owner):
        headers = headers_of(owner, Scope.ROUTES)
        token = ApiToken.objects.get()

        assert [token_revoke(token_id=token.pk), token_revoke(token_id=token.pk)] == [True, False]

        refused = client.get("/api/routes", headers=headers)
        assert refused.status_code == 401
        assert "revoked" in refused.json()["detail"]

    def test_an_expired_token_opens_nothing(self, client, owner):
        headers = headers_of(owner, Scope.ROUTES, expires_at=timezone.now() + timedelta(hours=1))
        assert client.get("/api/routes", headers=headers).status_code == 200
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

        assert client.get("/api/routes", headers=headers).status_code == 401

    @pytest.mark.parametrize(("change", "status"), [({"is_active": False}, 401), ({"is_staff": False}, 403)])
    def test_it_ends_with_its_makers_account(self, client, owner, change, status):
        headers = headers_of(owner, Scope.ROUTES)
        User.objects.update(**change)

        assert client.get("/api/routes", headers=headers).status_code == status

    @pytest.mark.parametrize("key", ["aibot_", f"aibot_{'0' * 64}", "aibot_\u00e9", "", "a b"])
    def test_an_invented_key_opens_nothing(self, client, owner, key):
        assert client.get("/api/routes", headers={"authorization": f"Bearer {key}"}).status_code == 401


class TestTheRow:
    def test_it_contains_no_key(self, owner):
        key = headers_of(owner, Scope.ROUTES)["authorization"].removeprefix("Bearer ")

        row = ApiToken.objects.values().get()

        assert re.fullmatch("aibot_[0-9a-f]{64}", key)
        assert row["beginning"] == key[:12]
        assert not any(key[12:] in str(value) for value in row.values())

    def test_its_last_use_is_written_once_a_minute(self, client, owner, django_assert_num_queries):
        headers = headers_of(owner, Scope.ROUTES)
        client.get("/api/routes", headers=headers)
        first = ApiToken.objects.get().last_used_at
        assert first is not None

        client.get("/api/routes", headers=headers)
        assert ApiToken.objects.get().last_used_at == first

        ApiToken.objects.update(last_used_at=F("last_used_at") - timedelta(seconds=61))
        client.get("/api/routes", headers=headers)
        assert ApiToken.objects.get().last_used_at >= first


class TestTheAdmin:
    def test_a_key_is_shown_once(self, client, owner):
        client.force_login(owner)

        made = client.post(f"{PAGE}add/", {"name": "grafana", "scopes": ["statistics"]}, follow=True)

        (key,) = re.findall("aibot_[0-9a-f]{64}", made.content.decode())
        token = ApiToken.objects.get()
        assert (token.name, token.scopes, token.made_by, token.expires_at) == ("grafana", ["statistics"], owner, None)
        assert client.get("/metrics", headers={"authorization": f"Token {key}"}).status_code == 200
        pages = [
            client.get(f"{PAGE}{page}").content.decode() for page in ("", f"{token.pk}/change/", f"{token.pk}/history/")
        ]
        assert not any(key in page for page in pages)
        assert not LogEntry.objects.filter(object_repr__contains=key).exists()

    def test_it_offers_the_makers_own_scopes_alone(self, client):
        clerk = User.objects.create_user("clerk", is_staff=True)
        names = ["add_apitoken", "view_apitoken", "view_account"]
        clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
        client.force_login(clerk)

        form = client.get(f"{PAGE}add/").content.decode()
        refused = client.post(f"{PAGE}add/", {"name": "x", "scopes": ["accounts:read", "requests:read"]})

        assert ("accounts:read" in form, "requests:read" in form) == (True, False)
        assert refused.status_code == 200
        assert not ApiToken.objects.exists()

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"scopes": []}, "This field is required."),
            ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "This is over."),
        ],
    )
    def test_it_refuses_a_token_that_could_open_nothing(self, client, owner, fields, words):
        client.force_login(owner)

        response = client.post(f"{PAGE}add/", {"name": "x", "scopes": ["statistics"], **fields})

        assert words in response.content.decode()
        assert not ApiToken.objects.exists()

    def test_revoking_takes_a_permission_and_is_in_the_history(self, client, owner):
        headers_of(owner, Scope.ROUTES)
        token = ApiToken.objects.get()
        clerk = User.objects.create_user("clerk", is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename="view_apitoken"))
        action = {"action": "revoke", "_selected_action": [token.pk]}
        client.force_login(clerk)
        client.post(PAGE, action)
        assert ApiToken.objects.get().revoked_at is None

        client.force_login(owner)
        assert "1 revoked." in client.post(PAGE, action, follow=True).content.decode()
        assert "0 revoked." in client.post(PAGE, action, follow=True).content.decode()

        assert ApiToken.objects.get().revoked_at is not None
        assert "Revoked" in client.get(f"{PAGE}{token.pk}/history/").content.decode()


class TestTokensOfEarlierReleases:
    def test_they_open_what_they_did_and_no_list(self, client, owner):
        headers = {"authorization": f"Token {Token.objects.create(user=owner).key}"}

        assert client.get("/api/providers/stats", headers=headers).status_code == 200
        assert client.get("/metrics", headers=headers).status_code == 200
        assert client.get("/api/requests", headers=headers).status_code == 403

    def test_the_admin_asks_for_their_replacement_and_deletes_them(self, client, owner):
        token = Token.objects.create(user=owner)
        client.force_login(owner)

        page = client.get("/admin/authtoken/tokenproxy/").content.decode()

        assert "These tokens are of an earlier release" in page
        assert token.key not in page
        assert client.get("/admin/authtoken/tokenproxy/add/").status_code == 403
        assert client.post(f"/admin/authtoken/tokenproxy/{token.user_id}/delete/", {"post": "yes"}).status_code == 302
        assert not Token.objects.exists()
