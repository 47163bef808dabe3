"""The navigation and the head of each page: one name for one thing, and a way back."""

import re
from html import unescape

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.templatetags.static import static
from django.urls import reverse

from aibot.navigation import NAVIGATION
from providers.models import ProviderConfig
from tests.factories import make_account

pytestmark = pytest.mark.django_db

PAGES = [(group, page) for group, pages in NAVIGATION.items() for page in pages]
OWN_APPS = ("aibot", "providers", "requests_app", "telegram_bot")


def head(page) -> list[str]:
    """Return the steps in the head of a page, as people read them."""
    heading = re.search(r"<h1.*?</h1>", page.content.decode(), re.S)[0]
    heading = re.sub(r'<span class="material-symbols-outlined.*?</span>', ">", heading, flags=re.S)
    return [step.strip() for step in unescape(re.sub(r"<[^>]*>", " ", heading)).split(">")]


@pytest.mark.parametrize(("group", "page"), PAGES, ids=[page.address_name for _, page in PAGES])
def test_each_page_is_headed_as_the_navigation_calls_it(admin_client, group, page):
    assert head(admin_client.get(page.link)) == [group, page.words]


@pytest.mark.parametrize("page", [page for _, page in PAGES if page.view == "changelist"], ids=lambda page: page.table)
def test_a_list_of_ours_is_called_as_its_rows(page):
    if page.table.split(".")[0] in OWN_APPS:
        assert page.words.lower() == apps.get_model(page.table)._meta.verbose_name_plural.lower()


def test_no_two_lists_have_one_name():
    titles = [page.words for _, page in PAGES]

    assert len(titles) == len(set(titles))


@pytest.mark.parametrize(("name", "doing"), [("test", "Test"), ("history", "Versions"), ("delete", "Delete")])
def test_a_page_about_a_route_leads_back_to_it(admin_client, name, doing):
    route = ProviderConfig.objects.get(category="TEXT", name="openai")
    page = admin_client.get(reverse(f"admin:providers_providerconfig_{name}", args=[route.pk]))

    assert head(page) == ["Routes and AI models", "Routes", "TEXT · OpenAI", doing]
    assert f'href="{reverse("admin:providers_providerconfig_change", args=[route.pk])}"' in page.content.decode()


@pytest.mark.parametrize(
    ("address", "doing"),
    [
        ("providers_providerconfig_import", "Import"),
        ("providers_providerconfig_removed", "Removed"),
        ("providers_providerconfig_add", "Add"),
        ("requests_app_request_replay", "What would it have cost"),
    ],
)
def test_a_page_about_the_routes_leads_back_to_them(admin_client, address, doing):
    page = admin_client.get(reverse(f"admin:{address}"))

    assert head(page) == ["Routes and AI models", "Routes", doing]


def test_an_account_is_called_by_its_users_name_as_it_is_written(admin_client):
    account = make_account(name="joanna")

    page = admin_client.get(reverse("admin:requests_app_account_change", args=[account.pk]))

    assert head(page) == ["Users and credits", "Accounts", "joanna"]


def test_lists_have_the_stylesheet_that_keeps_long_names_in_their_cells(admin_client):
    page = admin_client.get(reverse("admin:requests_app_account_changelist")).content.decode()

    assert static("aibot/admin.css") in page
    assert finders.find("aibot/admin.css")


@pytest.mark.parametrize(
    "address",
    [
        "/admin/aibot/apitoken/add/",
        "/admin/auth/user/add/",
        "/admin/providers/providerconfig/add/",
        "/admin/providers/providerconfig/playground/TEXT/",
        "/admin/requests_app/aimodel/add/",
        "/admin/requests_app/maintenancemode/add/",
        "/admin/requests_app/request/replay/",
    ],
)
def test_no_field_of_a_form_lacks_the_look_of_the_others(admin_client, address):
    context = admin_client.get(address).context
    form = context["adminform"].form if "adminform" in context else context["form"]

    widgets = {field.name: type(field.field.widget) for field in form.visible_fields()}
    plain = {name for name, widget in widgets.items() if not widget.__module__.startswith(("unfold.", "providers."))}
    assert plain == set()


def test_a_line_is_there_for_those_who_may_open_it(client):
    helper = User.objects.create_user("helper", is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename="view_providerhealth"))
    client.force_login(helper)

    groups = client.get("/admin/").context["sidebar_navigation"]

    assert [item["title"] for group in groups for item in group["items"]] == ["Overview", "Circuits"]


@pytest.mark.django_db(transaction=True)
def test_permissions_from_before_are_named_anew():
    call_command("migrate", "aibot", "0004", verbosity=0)
    Permission.objects.filter(codename="change_providerconfig").update(name="Can change provider")

    call_command("migrate", verbosity=0)

    assert Permission.objects.get(codename="change_providerconfig").name == "Can change route"
