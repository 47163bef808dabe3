"""Access control: every address of the project, visited by everybody there is.

A new address has no line here, and the first test fails until somebody adds who may see it.
"""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from rest_framework.authtoken.models import Token

from aibot.api_tokens import token_create
from aibot.models import Scope
from providers.access import providers_with_callbacks
from providers.models import Attempt, ProviderConfig, ProviderHealth
from providers.statistics.rollups import fold_attempts
from requests_app.admin.request_operations import OPERATIONS
from requests_app.models import Account, AIModel, LedgerEntry, Request, RequestEvent, WorkerHeartbeat
from requests_app.services.maintenance import maintenance_begin
from telegram_bot.models import Delivery
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_account, make_alert, make_attempt, make_chat, make_model, make_request, make_user
from tests.telegram_bot.updates import message

Visit = Callable[[str], HttpResponse]

# Who visits, in the order of the table: a stranger, a user who is not staff, staff without permissions, staff in each
# shipped role, a superuser, and the holders of a token: of an earlier release, without scopes, with all of them.
VISITORS = (
    "stranger",
    "user",
    "helper",
    "support",
    "operator",
    "auditor",
    "owner",
    "superuser",
    "old token",
    "bare token",
    "full token",
)
STATISTICS = (401, 403, 403, 403, 200, 200, 200, 200, 200, 403, 200)
SIGNPOST = (401, 403, 403, 200, 200, 200, 200, 200, 200, 403, 200)
RECORDS = (401, 403, 403, 200, 200, 200, 200, 200, 403, 403, 200)
ROUTES = (401, 403, 403, 403, 200, 200, 200, 200, 403, 403, 200)
STAFF = (302, 302, 200, 200, 200, 200, 200, 200, 302, 302, 302)
NOBODY = (302, 302, 403, 403, 403, 403, 403, 403, 302, 302, 302)
NOT_THERE = (302, 302, 404, 404, 404, 404, 404, 404, 302, 302, 302)
POST_ONLY = (405,) * len(VISITORS)
EXPECTED = {
    "": (302,) * len(VISITORS),  # to the admin
    "metrics": STATISTICS,
    "metrics/": STATISTICS,
    "media/<path:name>": (401, 403, 403, 403, 404, 404, 404, 404, 403, 403, 404),
    "api/schema/": SIGNPOST,
    "api/docs/": SIGNPOST,
    "api/schema": SIGNPOST,
    "api/docs": SIGNPOST,
    "api/": SIGNPOST,
    "api/<path:address>": (404,) * len(VISITORS),
    **{
        f"api/providers/{path}{slash}": STATISTICS
        for path in ("stats", "stats/<str:category>", "cost/<str:category>", "recommended/<str:category>")
        for slash in ("", "/")
    },
    **{
        f"api/analytics/{path}{slash}": STATISTICS
        for path in ("success-rates", "fallbacks", "margins", "costs")
        for slash in ("", "/")
    },
    **{
        f"api/{path}{slash}": ROUTES if path.startswith("routes") else RECORDS
        for path in (
            *("requests", "requests/<str:key>", "attempts", "attempts/<uuid:key>", "models", "models/<slug:key>"),
            *("accounts", "accounts/<int:key>", "routes", "routes/<int:key>"),
        )
        for slash in ("", "/")
    },
    # Telegram and Replicate send POST requests.
    **{f"{path}{slash}": POST_ONLY for path in ("telegram/webhook", "hooks/<slug:slug>") for slash in ("", "/")},
    # Django's own pages for people who are not logged in, and those that only post or only redirect.
    "admin/": STAFF,
    "admin/login/": (200, 200, 302, 302, 302, 302, 302, 302, 200, 200, 200),
    "admin/logout/": (302, 302, 405, 405, 405, 405, 405, 405, 302, 302, 302),
    "admin/jsi18n/": STAFF,
    "admin/search/": STAFF,
    "admin/one-time-codes/": STAFF,  # one's own
    "admin/autocomplete/": NOBODY,  # without the names of a field
    "admin/password_change/": STAFF,
    "admin/password_change/done/": STAFF,
    "admin/r/<path:content_type_id>/<path:object_id>/": NOT_THERE,
    "admin/<app_label>/": (302, 302, 404, 200, 200, 200, 200, 200, 302, 302, 302),
    "admin/<url>": NOT_THERE,
}
# Each table's pages: the list, the form for a new row, a row's own page, its history, its deletion.
EDITED = {"", "add", "<path:object_id>/change", "<path:object_id>/history", "<path:object_id>/delete"}
RECORDED = EDITED - {"add", "<path:object_id>/delete"}
# The pages of each table that a superuser may open. Only the software writes records.
TABLES = {
    "aibot/alert": RECORDED,
    "aibot/apitoken": EDITED,
    "auth/group": EDITED,
    "auth/user": EDITED | {"<id>/password"},
    "authtoken/tokenproxy": EDITED - {"add"},  # of an earlier release
    "providers/providerconfig": EDITED
    | {"removed", "export", "import", "<path:object_id>/test", "order/<str:category>/<str:operation>"}
    | {"playground/<str:category>"},
    "providers/attempt": RECORDED,
    "providers/attemptrollup": RECORDED | {"reconciliation", "reconciliation/csv"},
    "providers/providerhealth": RECORDED,
    "providers/routingrule": EDITED - {"add", "<path:object_id>/delete"} | {"removed"},  # each category has its row
    "requests_app/account": RECORDED,
    "requests_app/aimodel": EDITED - {"<path:object_id>/delete"} | {"removed"},  # this one is in use
    "requests_app/ledgerentry": RECORDED,
    "requests_app/maintenancemode": EDITED - {"add"},  # it is on
    "requests_app/request": RECORDED | {"replay"},
    "requests_app/requestevent": RECORDED,
    "telegram_bot/delivery": RECORDED,
    "telegram_bot/telegramchat": RECORDED,
    "telegram_bot/telegramupdate": RECORDED,
    "telegram_bot/telegramuser": RECORDED,
}
# What the roles may do in the admin: view, add, change, delete. The auditor views, the owner does everything.
SUPPORT = {
    "aibot/alert": "view",
    "providers/attempt": "view",
    "requests_app/account": "view change",
    "requests_app/aimodel": "view",
    "requests_app/ledgerentry": "view",
    "requests_app/request": "view change",
    "requests_app/requestevent": "view",
    "telegram_bot/delivery": "view",
    "telegram_bot/telegramchat": "view",
    "telegram_bot/telegramuser": "view",
}
EVERYTHING = "view add change delete"
OPERATOR = {
    table: EVERYTHING for table in TABLES if table.startswith(("providers/", "requests_app/", "telegram_bot/"))
} | {"aibot/alert": "view"}
ROLES: dict[str, dict[str, str]] = {
    "helper": {},
    "support": SUPPORT,
    "operator": OPERATOR,
    "auditor": dict.fromkeys(TABLES, "view"),
    "owner": dict.fromkeys(TABLES, EVERYTHING),
    "superuser": dict.fromkeys(TABLES, EVERYTHING),
}
WRITERS = {"support", "operator", "owner", "superuser"}
# What a page takes, where it is not the permission to view.
NEEDED = {
    "playground/<str:category>": "change",
    "add": "add",
    "import": "change",
    "<path:object_id>/delete": "delete",
    "<path:object_id>/test": "change",
    "<id>/password": "change",
}
OF_ROUTES = {"replay"}  # pages of requests that take the permission to view routes as well
# Everybody may post to these.
TAKES_POSTS = {"telegram/webhook/", "hooks/<slug:slug>/", "admin/login/", "admin/logout/"}


def addresses(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        # Django's admin has two regular expressions: the list of an app, and whatever is left.
        route = re.sub(r"\^?\(\?P(<\w+>).*\)(/?)\$", r"\1\2", str(pattern.pattern))
        address = prefix + route
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, address)
        elif isinstance(pattern, URLPattern):
            yield address


EVERY_ADDRESS = list(addresses(get_resolver()))


def expected(address: str) -> tuple[int, ...]:
    if address in EXPECTED:
        return EXPECTED[address]
    table, page = table_and_page(address)
    if page == "<path:object_id>":
        return (302,) * len(VISITORS)  # Django's redirect to the change page
    return tuple(_expected_of(visitor, table, page) for visitor in VISITORS)


def _expected_of(visitor: str, table: str, page: str) -> int:
    if visitor not in ROLES:
        return 302  # to the login
    tables = [table, *(["providers/providerconfig"] if page in OF_ROUTES else [])]
    may = all(NEEDED.get(page, "view") in ROLES[visitor].get(each, "").split() for each in tables)
    return 200 if may and page in TABLES[table] else 403


def table_and_page(address: str) -> tuple[str, str]:
    _, app, table, *page = address.strip("/").split("/")
    return f"{app}/{table}", "/".join(page)


def is_known(address: str) -> bool:
    return address in EXPECTED or (address.startswith("admin/") and table_and_page(address)[0] in TABLES)


@pytest.fixture
def _rows():
    """Create one row in each table that has a page, so that the pages have content."""
    WorkerHeartbeat.objects.create(name="a", kind="worker", queues="chat,media,text")
    request = make_request(account=make_account(), model=make_model())
    RequestEvent.objects.create(request=request, to_status="PENDING", actor="test")
    make_attempt(caller_key=request.id)
    fold_attempts()
    ProviderHealth.objects.create(category="TEXT", provider="openai")
    maintenance_begin()
    make_alert()
    Group.objects.create(name="Helpers")
    update_ingest(message("Hello"))
    make_user(42, account=make_account())
    make_chat(42)
    Delivery.objects.create(request=request, part=0, kind="RESULT", state="PENDING", chat=make_chat(42))


@pytest.fixture
def visitors(_rows) -> dict[str, Client]:
    """All of VISITORS, by what they are."""
    clients = {visitor: Client() for visitor in VISITORS}
    clients["user"].force_login(User.objects.create_user("ada"))
    clients["superuser"].force_login(User.objects.create_superuser("root"))
    for visitor in ("helper", "support", "operator", "auditor", "owner"):
        member = User.objects.create_user(visitor, is_staff=True)
        member.groups.set(Group.objects.filter(name=visitor))
        clients[visitor].force_login(member)
    old = Token.objects.create(user=User.objects.create_user("prometheus"))
    clients["old token"] = Client(headers={"Authorization": f"Token {old.key}"})
    for visitor, scopes in (("bare token", []), ("full token", Scope)):
        _, key = token_create(name=visitor, made_by=member, scopes=scopes, expires_at=None)
        clients[visitor] = Client(headers={"Authorization": f"Bearer {key}"})
    return clients


# The rows of the API's lists, and which field is the key in their addresses.
LISTED: dict[str, tuple[type[Model], str]] = {
    "requests/<str:key>": (Request, "pk"),
    "attempts/<uuid:key>": (Attempt, "pk"),
    "models/<slug:key>": (AIModel, "slug"),
    "accounts/<int:key>": (Account, "pk"),
    "routes/<int:key>": (ProviderConfig, "pk"),
}


def filled(address: str) -> str:
    """Return the address with its placeholders filled: the key of an existing row, or a value that does not exist."""
    path = address.replace("<str:category>", "TEXT").replace("<str:operation>", "generate")
    path = path.replace("<path:content_type_id>/<path:object_id>", "999/1")
    for placeholder, (model, field) in LISTED.items():
        if placeholder in path:
            key = getattr(model._base_manager.all()[0], field)
            path = path.replace(placeholder.partition("/")[2], str(key))
    path = path.replace("<slug:slug>", providers_with_callbacks()[0])
    path = path.replace("<url>", "nowhere/").replace("<app_label>", "providers").replace("<id>", "<path:object_id>")
    if "<path:object_id>" in path:
        _, app, table, *_ = path.split("/")
        row = apps.get_model(app, table)._base_manager.order_by("pk").first()
        path = path.replace("<path:object_id>", str(row.pk) if row else "1")
    return f"/{path}"


def is_redirected_to_the_login(response: HttpResponse) -> bool:
    return response.status_code == 302 and urlsplit(response.headers["Location"]).path == "/admin/login/"


def test_every_address_has_a_line_that_says_who_may_see_it():
    assert [address for address in EVERY_ADDRESS if not is_known(address)] == []
    assert set(EXPECTED) <= set(EVERY_ADDRESS)
    assert TABLES.keys() == {
        table_and_page(address)[0]
        for address in EVERY_ADDRESS
        if address.startswith("admin/") and address.endswith("/add/")
    }


@pytest.mark.django_db
def test_every_address_answers_each_kind_of_user_as_listed(visitors, settings):
    settings.TELEGRAM_WEBHOOK_SECRET = "s" * 32
    unexpected = {}
    for address in EVERY_ADDRESS:
        path = filled(address)
        seen = tuple(visitors[name].get(path).status_code for name in VISITORS)
        if seen != expected(address):
            unexpected[address] = f"{seen} instead of {expected(address)}"
    assert not unexpected, "\n".join(f"{k}: {v}" for k, v in unexpected.items())


@pytest.mark.django_db
def test_media_is_served_to_those_who_may_view_requests(visitors, settings):
    path = f"/media/{default_storage.save('prompts/07/telegram-700000007.png', ContentFile(b'canary'))}"
    seen = {name: visitor.get(path).status_code for name, visitor in visitors.items()}

    may = {"operator", "auditor", "owner", "superuser", "full token"}
    assert seen == {name: 200 if name in may else 403 for name in VISITORS} | {"stranger": 401}
    settings.DEBUG = True
    assert visitors["stranger"].get(path).status_code == 200
    assert visitors["stranger"].get(path, headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("codenames", "status"),
    [(["view_request"], 403), (["view_prompts"], 403), (["view_request", "view_prompts"], 200)],
)
def test_media_needs_both_permissions(client, codenames, status):
    path = f"/media/{default_storage.save('prompts/07/telegram-700000007.png', ContentFile(b'canary'))}"
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(clerk)

    assert client.get(path).status_code == status
    # A token of an earlier release has no scopes: it opens here what its user may see.
    headers = {"authorization": f"Token {Token.objects.create(user=clerk).key}"}
    client.logout()
    assert client.get(path, headers=headers).status_code == status


@pytest.mark.django_db
def test_statistics_are_for_staff_that_may_view_hourly_sums(visitors):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_attemptrollup"))
    client = Client()
    client.force_login(clerk)

    assert client.get("/api/providers/stats").status_code == client.get("/metrics").status_code == 200


@pytest.mark.django_db
def test_who_may_block_accounts_may_not_add_credits(visitors):
    account, top_ups = Account.objects.all()[0], LedgerEntry.objects.filter(kind="TOPUP", actor="admin:clerk")
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_account", "change_account"]))
    client = Client()
    client.force_login(clerk)
    page = f"/admin/requests_app/account/{account.pk}/change/"

    assert "Add credits" not in client.get(page).content.decode()
    assert client.post(page, {"amount": "5", "reason": "", "form_key": "a"}).status_code in (200, 302)
    assert not top_ups.exists()

    clerk.user_permissions.add(Permission.objects.get(codename="add_credits"))
    assert client.post(page, {"amount": "5", "reason": "", "form_key": "a"}).status_code == 302
    assert top_ups.get().amount == 5


@pytest.mark.django_db
def test_who_may_block_accounts_may_not_erase_them(visitors):
    account = Account.objects.order_by("pk")[0]
    Request.objects.update(user=account, completed_at=timezone.now(), status="FAILED")
    erase = {"action": "erase", "_selected_action": account.pk, "reason": "They asked for it"}
    erased = {}
    for visitor in ("support", "auditor", "helper", "operator"):
        visitors[visitor].post("/admin/requests_app/account/", erase)
        erased[visitor] = Request.objects.filter(content_erased_at__isnull=False).count()
    assert erased == {"support": 0, "auditor": 0, "helper": 0, "operator": 1}


@pytest.mark.django_db
def test_the_key_of_an_old_token_is_shown_nowhere(visitors):
    superuser, token = visitors["superuser"], Token.objects.get()

    pages = [
        f"/admin/authtoken/tokenproxy/{page}" for page in ("", f"{token.user_id}/change/", f"{token.user_id}/history/")
    ]
    shown = [superuser.get(page).content.decode() for page in (*pages, f"/admin/auth/user/{token.user_id}/delete/")]

    assert not any(token.key in page for page in shown)
    assert "token of prometheus" in shown[-1]


@pytest.mark.django_db
def test_a_nul_in_an_address_is_not_found(visitors):
    for path in ("/media/%00", "/admin/requests_app/request/%00/change/", "/admin/requests_app/request/?q=%00"):
        assert {visitor.get(path).status_code for visitor in visitors.values()} == {404}


@pytest.mark.django_db
def test_outsiders_are_redirected_from_the_admin_to_the_login(visitors):
    outsiders = [visitor for name, visitor in visitors.items() if name not in ROLES]
    for address in EVERY_ADDRESS:
        if address.startswith("admin/") and address not in ("admin/login/", "admin/logout/"):
            for visitor in outsiders:
                path = filled(address)
                assert is_redirected_to_the_login(visitor.get(path)), path


@pytest.mark.django_db
def test_without_permissions_no_post_changes_anything(visitors):
    operations = {operation.name for operation in OPERATIONS}
    others = {"block", "delete_selected", "erase", "pause_routes", "reset_now", "resume_routes", "revoke", "unblock"}
    actions = others | operations
    without = [visitor for name, visitor in visitors.items() if name not in WRITERS]
    before = everything()
    for address in EVERY_ADDRESS:
        if address in TAKES_POSTS:
            continue
        for visitor in without:
            path = filled(address)
            visitor.post(path, {"post": "yes", "name": "canary", "username": "canary", "enabled": ""})
            for action in actions if is_list(address) else ():
                data = {"action": action, "_selected_action": selected(address), "post": "yes", "reason": "canary"}
                visitor.post(path, data)
            visitor.put(path)
            visitor.patch(path)
            visitor.delete(path)
    assert everything() == before


def is_list(address: str) -> bool:
    return address not in EXPECTED and table_and_page(address)[1] == ""


def selected(address: str) -> list[str]:
    """Return the keys of the rows of the table that this list is of."""
    model = apps.get_model(table_and_page(address)[0].replace("/", "."))
    return [str(row.pk) for row in model._base_manager.all()]


def everything() -> dict[str, list[dict[str, object]]]:
    """Return all rows of all tables, except sessions and what notes who was here."""
    notes = {"sessions.Session", "aibot.ApiToken", "aibot.ApiUsage"}
    models = [model for model in apps.get_models() if model._meta.label not in notes]
    return {model._meta.label: list(model._base_manager.order_by("pk").values()) for model in models}


@pytest.mark.django_db
def test_not_even_a_superuser_may_write_a_record(visitors):
    superuser = visitors["superuser"]
    records = [table for table, pages in TABLES.items() if pages is RECORDED] + ["requests_app/request"]
    written = [table for table in records if table != "requests_app/account"]
    for table in written:
        for page in ("add/", "<path:object_id>/change/", "<path:object_id>/delete/"):
            path = filled(f"admin/{table}/{page}")
            assert superuser.post(path, {"post": "yes"}).status_code == 403, path


@pytest.mark.parametrize(
    "address",
    [
        "requests_app/request/?input_text__startswith=a",
        "requests_app/request/?output_text__contains=a",
        "requests_app/request/?transcript__regex=a",
        "requests_app/request/?options__icontains=a",
        "requests_app/ledgerentry/?request__input_text__startswith=a",
        "telegram_bot/telegramupdate/?raw__icontains=a",
        "telegram_bot/delivery/?request__output_text__contains=a",
        "providers/providerconfig/?extra_headers__icontains=a",
        "authtoken/tokenproxy/?key__startswith=a",
        "auth/user/?auth_token__key__startswith=a",
        "auth/user/?password__startswith=a",
        "aibot/apitoken/?key_hash__startswith=a",
    ],
)
def test_no_address_asks_letter_by_letter_for_what_pages_do_not_show(admin_client, address):
    assert admin_client.get(f"/admin/{address}").status_code in {302, 400}


@pytest.mark.parametrize(
    "address",
    [
        "requests_app/request/?created_at__range=",
        "requests_app/request/?created_at__year=-1",
        "aibot/apitoken/?created_at__year=99999999999999999999",
        "requests_app/ledgerentry/?account=99999999999999999999",
    ],
)
def test_no_address_is_answered_with_an_error(admin_client, address):
    # An account of a number that no column holds is none for one database, and a wrong address for the other.
    assert admin_client.get(f"/admin/{address}").status_code in {200, 302, 400}


@pytest.mark.django_db
def test_who_may_only_view_routes_sees_the_names_in_extra_headers_alone(client):
    route = ProviderConfig.objects.get(category="TEXT", name="openai")
    route.extra_headers = {"X-Secret": "hdr-supersecret"}
    route.save()
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_providerconfig"))
    client.force_login(user)

    page = client.get(f"/admin/providers/providerconfig/{route.pk}/change/").content.decode()

    assert "X-Secret" in page
    assert "hdr-supersecret" not in page
