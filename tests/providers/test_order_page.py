"""The page of a category's order: what it shows, and what each of its buttons does, with the fields it has sent."""

import json

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from providers.models import ProviderConfig

pytestmark = pytest.mark.django_db


def address(category: str = "TEXT", operation: str = "generate") -> str:
    return reverse("admin:providers_providerconfig_order", args=[category, operation])


def shown(client, page: str | None = None) -> list[tuple[str, bool]]:
    """Return the routes from top to bottom, and whether each shares the load with the one above."""
    return [(row.route.name, row.is_together) for row in client.get(page or address()).context["rows"]]


def posted(client, order: list[list[str]], **fields: str):
    """Save this order, as the page posts it that is shown now."""
    context = client.get(address()).context
    keys = {row.route.name: str(row.route.pk) for row in context["rows"]}
    data = {
        "expected": context["expected"],
        "route": [keys[name] for group in order for name in group],
        "together": [keys[name] for group in order for name in group[1:]],
        "save": "",
        **fields,
    }
    return client.post(address(), data, follow=True)


def messages(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def key_of(name: str) -> int:
    return ProviderConfig.objects.get(category="TEXT", name=name).pk


class TestOrder:
    def test_a_route_moves_and_the_ones_that_share_the_load_stay_together(self, admin_client):
        first = ["openai", "piapi", "aimlapi"]
        others = [[name] for name, _ in shown(admin_client) if name not in first]
        wanted = [["openai"], ["piapi", "aimlapi"], *others]

        response = posted(admin_client, wanted, why="cheaper this week")

        assert "The order is saved" in messages(response)
        assert shown(admin_client)[:3] == [("openai", False), ("aimlapi", False), ("piapi", True)]
        version = ProviderConfig.objects.get(category="TEXT", name="openai").history.first()
        assert (version.history_user_id, version.history_change_reason) == ("admin:admin", "cheaper this week")

    def test_the_same_order_writes_nothing(self, admin_client):
        order = [[name] for name, _ in shown(admin_client)]

        assert "It is the order already" in messages(posted(admin_client, order))

    def test_an_old_page_is_refused_and_says_what_the_order_is_now(self, admin_client):
        order = [[name] for name, _ in shown(admin_client)]
        old = admin_client.get(address()).context["expected"]
        posted(admin_client, [order[1], order[0], *order[2:]])

        response = posted(admin_client, order, expected=old)

        assert "Meanwhile the order of TEXT has become: piapi → aimlapi" in messages(response)
        assert shown(admin_client)[0] == ("piapi", False)

    @pytest.mark.parametrize("expected", ["", "null", "{}", "[[1,2", "[1]", '["x"]', "9" * 20_000])
    def test_what_is_no_order_changes_nothing_and_is_said(self, admin_client, expected):
        before = shown(admin_client)

        response = posted(admin_client, [[name] for name, _ in before][::-1], expected=expected)

        assert response.status_code == 200
        assert messages(response)
        assert shown(admin_client) == before

    def test_a_route_left_out_or_named_twice_changes_nothing(self, admin_client):
        names = [[name] for name, _ in shown(admin_client)]

        for order in (names[1:], [names[0], *names], []):
            assert "Nothing was changed" in messages(posted(admin_client, order))


class TestButtons:
    def press(self, client, **button: str):
        return client.post(address(), button, follow=True)

    def test_switching_off_and_on_again(self, admin_client):
        response = self.press(admin_client, switch=f"{key_of('xai')}:off")

        assert not ProviderConfig.objects.get(pk=key_of("xai")).enabled
        assert "xAI is off" in messages(response)
        self.press(admin_client, switch=f"{key_of('xai')}:on")
        assert ProviderConfig.objects.get(pk=key_of("xai")).enabled
        assert "switched already" in messages(self.press(admin_client, switch=f"{key_of('xai')}:on"))

    def test_pausing_for_an_hour_and_resuming(self, admin_client):
        assert "paused for an hour" in messages(self.press(admin_client, pause=str(key_of("xai"))))
        assert next(row for row in admin_client.get(address()).context["rows"] if row.route.name == "xai").is_paused
        assert "asked again" in messages(self.press(admin_client, resume=str(key_of("xai"))))

    @pytest.mark.parametrize("button", ["switch", "pause", "resume"])
    @pytest.mark.parametrize("pk", ["", "0", "x", "9" * 30, "\u0663"])
    def test_a_route_that_is_not_there_is_no_error(self, admin_client, button, pk):
        assert self.press(admin_client, **{button: pk}).status_code == 200

    def test_a_route_of_another_category_is_not_touched(self, admin_client):
        other = ProviderConfig.objects.filter(category="IMAGE", enabled=True).first()

        self.press(admin_client, switch=f"{other.pk}:off")

        assert ProviderConfig.objects.get(pk=other.pk).enabled


class TestWho:
    def test_who_may_only_look_sees_no_button_and_changes_nothing(self, client):
        user = User.objects.create_user("reader", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_providerconfig"))
        client.force_login(user)

        page = client.get(address()).content.decode()

        assert 'name="save"' not in page
        assert 'name="switch"' not in page
        assert client.post(address(), {"switch": f"{key_of('xai')}:off"}).status_code == 403
        assert ProviderConfig.objects.get(pk=key_of("xai")).enabled

    @pytest.mark.parametrize("page", ["TEXT/edit", "AUDIO/transcribe", "x/generate", "TEXT/x"])
    def test_an_address_without_routes_is_not_found(self, admin_client, page):
        assert admin_client.get(address().replace("TEXT/generate", page)).status_code == 404

    def test_every_category_has_its_page(self, admin_client):
        for tab in admin_client.get(address()).context["tabs"]:
            assert admin_client.get(tab["address"]).status_code == 200

    def test_the_expected_order_is_the_one_that_is_shown(self, admin_client):
        context = admin_client.get(address()).context

        assert [pk for group in json.loads(context["expected"]) for pk in group] == [
            row.route.pk for row in context["rows"]
        ]
