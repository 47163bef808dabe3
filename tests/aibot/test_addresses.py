"""Who is let in where: every address of the project, walked as a stranger, a user and an operator."""

import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.authtoken.models import Token

from providers.models import ProviderHealth
from providers.rollups import fold_attempts
from requests_app.models import RequestEvent
from tests.factories import make_account, make_attempt, make_model, make_request

OPEN, TO_LOGIN = (200, 200, 200), (302, 302, 200)
# A GET as a stranger, as a user who is not staff, and as a superuser.
EXPECTED = {
    "healthz": OPEN,
    "healthz/": OPEN,
    "readyz": OPEN,
    "readyz/": OPEN,
    "metrics": (401, 403, 200),
    "metrics/": (401, 403, 200),
    "media/<path:name>": (401, 403, 404),
    "api/schema/": (401, 403, 200),
    "api/docs/": (401, 403, 200),
    **{
        f"api/providers/{path}{slash}": (401, 403, 200)
        for path in ("stats", "stats/<str:category>", "cost/<str:category>", "recommended/<str:category>")
        for slash in ("", "/")
    },
    # Telegram and Replicate post; there is nothing to get.
    "telegram/webhook/": (405, 405, 405),
    "hooks/replicate/": (405, 405, 405),
    # Django's own pages for people who are not logged in, and those that only post or only redirect.
    "admin/": TO_LOGIN,
    "admin/login/": (200, 200, 302),
    "admin/logout/": (302, 302, 405),
    "admin/jsi18n/": TO_LOGIN,
    "admin/autocomplete/": (302, 302, 403),
    "admin/password_change/": TO_LOGIN,
    "admin/password_change/done/": TO_LOGIN,
    "admin/r/<path:content_type_id>/<path:object_id>/": (302, 302, 404),
    "admin/<app_label>/": TO_LOGIN,
    "admin/<url>": (302, 302, 404),
}
# Written by the software alone: not even a superuser adds, changes or deletes.
RECORDS = [
    "providers/attempt",
    "providers/attemptrollup",
    "providers/providerhealth",
    "requests_app/ledgerentry",
    "requests_app/requestevent",
    "requests_app/request",
]
NEITHER_ADDED_NOR_DELETED = [*RECORDS, "requests_app/account"]


def addresses(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        # Django's admin has two regular expressions: the list of an app, and whatever is left.
        route = re.sub(r"\^?\(\?P(<\w+>).*\)(/?)\$", r"\1\2", str(pattern.pattern))
        address = prefix + route
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, address)
        elif isinstance(pattern, URLPattern):
            yield address


def expected(address: str) -> tuple[int, int, int]:
    if address in EXPECTED:
        return EXPECTED[address]
    assert address.startswith("admin/"), f"{address} is new: say in EXPECTED who is let in"
    _, app, model, *rest = address.strip("/").split("/")
    table, page = f"{app}/{model}", "/".join(rest)
    if page == "<path:object_id>":
        return (302, 302, 302)  # an old form of the change page's address
    if table in NEITHER_ADDED_NOR_DELETED and page in ("add", "<path:object_id>/delete"):
        return (302, 302, 403)
    if table == "requests_app/aimodel" and page == "<path:object_id>/delete":
        return (302, 302, 403)  # it is in use
    return TO_LOGIN


@pytest.fixture
def _rows():
    """One row in each table that has a page, so that the pages have something to show."""
    request = make_request(account=make_account(), model=make_model())
    RequestEvent.objects.create(request=request, to_status="PENDING", actor="test")
    make_attempt(caller_key=request.id)
    fold_attempts()
    ProviderHealth.objects.create(category="TEXT", provider="openai")
    Group.objects.create(name="Helpers")
    Token.objects.create(user=User.objects.create_user("prometheus"))


@pytest.mark.django_db
@pytest.mark.usefixtures("_rows")
def test_every_address_lets_in_whom_it_should(client, admin_client, settings):
    settings.TELEGRAM_WEBHOOK_SECRET = "s" * 32
    user = User.objects.create_user("ada")
    surprises = {}
    for address in addresses(get_resolver()):
        path = "/" + _filled(address)
        client.logout()
        stranger = client.get(path).status_code
        client.force_login(user)
        seen = (stranger, client.get(path).status_code, admin_client.get(path).status_code)
        if seen != expected(address) and not (_has_tests_of_its_own(address) and seen[:2] == (302, 302)):
            surprises[address] = f"{seen} instead of {expected(address)}"
    assert surprises == {}


def _has_tests_of_its_own(address: str) -> bool:
    """What operators may do with these tables is not this file's matter; that others are kept out, is."""
    return address.startswith("admin/telegram_bot/")


def _filled(address: str) -> str:
    path = address.replace("<str:category>", "TEXT").replace("<path:content_type_id>/<path:object_id>", "999/1")
    path = path.replace("<url>", "nowhere/").replace("<app_label>", "providers")
    path = path.replace("<id>", "<path:object_id>")
    if "<path:object_id>" in path:
        _, app, model, *_ = path.split("/")
        path = path.replace("<path:object_id>", str(_first(app, model)))
    return path


def _first(app: str, model: str) -> object:
    row = apps.get_model(app, model).objects.order_by("pk").first()
    return row.pk if row else 1
