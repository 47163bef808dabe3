"""Admin pages of AI models, requests, accounts and the ledger."""

import re
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from providers.models import Attempt, ProviderConfig
from providers.types import Access
from requests_app.admin import requests as requests_admin
from requests_app.models import Account, AIModel, LedgerEntry, Request
from requests_app.states import transition
from tests.factories import make_account, make_attempt, make_model, make_request
from tests.html_forms import fields_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]
Status = Request.Status
REASON = "They asked for it"


def changelist_url(model: str) -> str:
    return reverse(f"admin:requests_app_{model}_changelist")


def change_url(row) -> str:
    return reverse(f"admin:requests_app_{row._meta.model_name}_change", args=[row.pk])


def run_action(client, action: str, *rows) -> str:
    """Select rows in their list and run an action on them; return the page that follows."""
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(changelist_url(rows[0]._meta.model_name), data, follow=True).content.decode()


def operate(client, name: str, *rows, reason: str = REASON, **changes: str) -> str:
    """Begin an operation in the list, give a reason on the page that asks for it; return the page that follows."""
    asked = run_action(client, name, *rows)
    data = {**fields_of(asked), "_selected_action": [row.pk for row in rows], "reason": reason, **changes}
    return client.post(changelist_url(rows[0]._meta.model_name), data, follow=True).content.decode()


def make_held_request(**fields) -> Request:
    request = make_request(**fields)
    LedgerEntry.objects.create(account=request.user, request=request, kind="HOLD", amount=-request.credits, actor="t")
    Account.objects.filter(id=request.user_id).update(balance=F("balance") - request.credits)
    return request


def log_in_with(client, *permissions: str) -> None:
    user = User.objects.create_user("helper", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)


class TestRequests:
    def test_a_requests_page_shows_its_events_attempts_and_ledger(self, admin_client):
        skipped = [{"route": "fast", "provider": "xai", "reason": "no key"}]
        request = make_held_request(input_text="Why is the sky blue?", skipped=skipped)
        transition(
            request_id=request.id, sources=[Status.PENDING], to=Status.PROCESSING, actor="worker", reason="claim"
        )
        make_attempt(
            caller_key=request.id, number=1, state="FAILED", cost=None, error_class="ServerFault", error_text="HTTP 500"
        )
        make_attempt(caller_key=request.id, number=2, provider="piapi", cost=None)

        content = admin_client.get(change_url(request)).content.decode()

        assert "Why is the sky blue?" in content
        assert "ServerFault: HTTP 500" in content
        assert re.search(r"<strong>fast was passed by</strong>\s*<br>no key", content)
        assert re.search(r"PiAPI, test-model · took 1.0 s · cost unknown", content)
        assert "PENDING → PROCESSING" in content
        assert "HOLD" in content

    def test_the_list_neither_shows_nor_loads_texts(self, admin_client, django_assert_max_num_queries):
        for _ in range(5):
            make_request(input_text="a secret prompt")

        with django_assert_max_num_queries(7) as captured:
            content = admin_client.get(changelist_url("request")).content.decode()

        assert "a secret prompt" not in content
        assert not [query for query in captured.captured_queries if "input_text" in query["sql"]]

    def test_a_models_output_is_escaped(self, admin_client):
        request = make_request(
            status=Status.COMPLETED,
            actual_provider="openai",
            completed_at="2026-11-23T10:00Z",
            input_text="<img src=x>",
            output_text="<script>alert(1)</script>",
            output_url="javascript:alert(1)",
        )
        make_attempt(caller_key=request.id, model="<b>", error_text="<script>alert(2)</script>")

        content = admin_client.get(change_url(request)).content.decode()

        assert "&lt;script&gt;alert(1)" in content
        assert "<script>alert" not in content
        assert "<img src=x>" not in content
        assert 'href="javascript:' not in content

    @pytest.mark.parametrize(
        ("content_type", "player"), [("image/png", "<img"), ("video/mp4", "<video"), ("audio/mpeg", "<audio")]
    )
    def test_an_output_file_is_shown_from_our_own_url(self, admin_client, content_type, player):
        stored = {"name": "results/01/a.bin", "content_type": content_type, "size": 2048}
        request = make_request(
            status=Status.COMPLETED,
            actual_provider="replicate",
            completed_at="2026-11-23T10:00Z",
            output_media=[stored],
            output_url="https://elsewhere.example/a",
        )

        page = admin_client.get(f"/admin/requests_app/request/{request.id}/change/").content.decode()

        assert f'{player} src="/media/results/01/a.bin"' in page
        assert "elsewhere" not in page

    def test_cancelling_releases_the_credits_and_records_the_operator(self, admin_client):
        account = make_account(credits=10)
        request, ended = make_held_request(account=account), make_request(account=account, status=Status.FAILED)

        content = operate(admin_client, "cancel", request, ended)

        assert "1 cancelled" in content
        request.refresh_from_db()
        account.refresh_from_db()
        assert (request.status, account.balance) == ("CANCELLED", 10)
        assert (request.events.get().actor, request.events.get().reason) == ("admin:admin", REASON)
        assert [entry.change_message for entry in LogEntry.objects.all()] == [f"Cancelled: {REASON}"]

    def test_a_quarantined_request_is_resumed(self, admin_client, enqueued):
        request = make_request(status=Status.QUARANTINED, tries=8)

        operate(admin_client, "resume", request)

        request.refresh_from_db()
        assert (request.status, request.tries) == ("PROCESSING", 0)

    def test_only_a_quarantined_request_can_be_resumed(self, admin_client):
        request = make_request()

        assert "There is nothing to do" in run_action(admin_client, "resume", request)
        assert "0 resumed" in operate(admin_client, "resume", request, action="resume")

    def test_staff_with_the_view_permission_only_can_do_neither(self, client):
        log_in_with(client, "view_request")
        request = make_held_request()

        assert client.get(change_url(request)).status_code == 200
        operate(client, "cancel", request, action="cancel")

        request.refresh_from_db()
        assert request.status == "PENDING"

    def test_a_request_is_found_by_its_id(self, admin_client):
        wanted, other = make_request(), make_request()

        content = admin_client.get(changelist_url("request"), {"q": wanted.id}).content.decode()

        assert wanted.id in content
        assert other.id not in content

    @pytest.mark.parametrize("words", ["penguin", "PENGUIN", "a Penguin?"])
    @pytest.mark.parametrize("text", ["input_text", "transcript", "output_text"])
    def test_a_request_is_found_by_words_of_its_texts(self, admin_client, text, words):
        make_request(id="req_1", **{text: "Say, what is a penguin?"})
        make_request(id="req_2", **{text: "What is a seal?"})

        found = admin_client.get(changelist_url("request"), {"q": f'"{words}"'}).context["cl"]

        assert [row.id for row in found.result_list] == ["req_1"]

    def test_words_that_are_not_of_ascii_are_found_in_capitals_and_without(self, admin_client):
        make_request(input_text="Пингвин")

        for words in ("пингвин", "ПИНГВИН", "Пингвин"):
            assert admin_client.get(changelist_url("request"), {"q": f'"{words}'}).context["cl"].result_count == 1

    def test_words_are_looked_for_in_the_newest_of_the_list_only_and_the_page_says_so(self, admin_client, monkeypatch):
        monkeypatch.setattr(requests_admin, "MAX_SEARCHED", 2)
        for number in range(4):
            make_request(id=f"req_{number}", input_text="penguin", created_at=timezone.now() - timedelta(days=number))

        page = admin_client.get(changelist_url("request"), {"q": '"penguin"'})
        assert [row.id for row in page.context["cl"].result_list] == ["req_0", "req_1"]
        assert "Looked through the newest 2 requests" in page.content.decode()

    def test_who_may_not_read_texts_finds_nothing_by_them(self, client):
        make_request(input_text="penguin")
        log_in_with(client, "view_request")

        page = client.get(changelist_url("request"), {"q": '"penguin"'})

        assert page.context["cl"].result_count == 0
        assert "You may not look for what users wrote" in page.content.decode()

    @pytest.mark.parametrize("words", ['"', '""', '"%_\\', '"\U0001f600"', "'\"'"])
    def test_strange_words_find_nothing(self, admin_client, words):
        make_request(input_text="penguin")

        assert admin_client.get(changelist_url("request"), {"q": words}).context["cl"].result_count == 0

    def test_a_requests_page_says_what_all_its_attempts_have_cost(self, admin_client):
        request = make_request()
        make_attempt(caller_key=request.id, number=1, cost=Decimal("0.0132"), state="ABANDONED")
        make_attempt(caller_key=request.id, number=2, cost=None, state="FAILED")
        make_attempt(caller_key=request.id, number=3, cost=Decimal("0.003"))
        assert "Billed in all: $0.0162." in admin_client.get(change_url(request)).content.decode()

        unknown = make_attempt(
            caller_key=request.id, number=4, cost=None, state="UNKNOWN", reserved_cost=Decimal("0.02")
        )
        content = admin_client.get(change_url(request)).content.decode()
        assert "Billed in all: $0.0162, and 1 at an unknown cost of at most $0.02." in content

        Attempt.objects.filter(pk=unknown.pk).update(reserved_cost=None)
        content = admin_client.get(change_url(request)).content.decode()
        assert "Billed in all: $0.0162, and 1 at an unknown cost." in content

    @pytest.mark.parametrize("finished", [True, False], ids=["ended", "open"])
    @pytest.mark.parametrize("status", [status for status in Status if status != Status.COMPLETED])
    def test_each_status_is_found(self, admin_client, status, finished):
        wanted = make_request(status=status, completed_at=Now() if finished and status not in Request.OPEN else None)
        make_request(status=next(other for other in Status if other not in (status, Status.COMPLETED)))

        page = admin_client.get(changelist_url("request"), {"status__exact": status.value})

        assert [row.id for row in page.context["cl"].result_list] == [wanted.id]

    def test_two_statuses_are_found_together(self, admin_client):
        wanted = {make_request(status=status).id for status in (Status.PENDING, Status.FAILED)}
        make_request(status=Status.QUARANTINED)

        page = admin_client.get(f"{changelist_url('request')}?status__exact=PENDING&status__exact=FAILED")

        assert {row.id for row in page.context["cl"].result_list} == wanted

    def test_a_filter_that_does_not_exist_is_no_error(self, admin_client):
        for query in ("status__exact=NOPE", "status__exact=%00", "status__exact='", "colour=red", "p=-1"):
            assert admin_client.get(f"{changelist_url('request')}?{query}").status_code < 500


class TestRefunds:
    @pytest.fixture
    def answered(self) -> Request:
        request = make_held_request(
            status="COMPLETED",
            actual_provider="aimlapi",
            completed_at="2026-11-23T00:00:00Z",
            output_text="Yes",
            credits=3,
        )
        LedgerEntry.objects.create(account=request.user, request=request, kind="CAPTURE", amount=0, actor="t")
        return request

    def refund(self, client, *rows: Request, **data: str) -> str:
        form = {"action": "refund", "_selected_action": [row.pk for row in rows], **data}
        return client.post(changelist_url("request"), form, follow=True).content.decode()

    def test_it_asks_for_a_reason_and_gives_back_once(self, admin_client, answered):
        before = Account.objects.get().balance
        asked = self.refund(admin_client, answered)
        assert "3 credits" in asked
        assert 'name="reason"' in asked
        assert "Say why" in self.refund(admin_client, answered, reason="  ")
        assert "Null characters" in self.refund(admin_client, answered, reason="\x00")
        assert "at most 200" in self.refund(admin_client, answered, reason="x" * 201)

        for outcome in ("1 refunded", "0 refunded"):
            assert outcome in self.refund(admin_client, answered, reason="Nonsense")

        assert Account.objects.get().balance == before + 3
        entry = LedgerEntry.objects.get(kind="REFUND")
        assert (entry.amount, entry.actor, entry.reason) == (3, "admin:admin", "Nonsense")
        assert "There is nothing to do" in self.refund(admin_client, answered)

    def test_what_is_still_open_is_not_refunded(self, admin_client):
        request = make_held_request()

        assert "There is nothing to do" in self.refund(admin_client, request)
        assert "0 refunded" in self.refund(admin_client, request, reason="x")

    def test_who_may_not_add_credits_may_not_give_them_back(self, client, answered):
        log_in_with(client, "view_request", "change_request")

        self.refund(client, answered, reason="Nonsense")

        assert not LedgerEntry.objects.filter(kind="REFUND").exists()

    def test_too_many_at_once_are_refused_before_their_page(self, admin_client, monkeypatch):
        monkeypatch.setattr("requests_app.admin.operations.MAX_ROWS", 1)
        rows = [make_request(), make_request()]

        assert "At most 1 at a time." in run_action(admin_client, "refund", *rows)


class TestAccounts:
    def top_up(self, client, account, *, amount: str, form_key: str | None = None, **more: str):
        """Open the account's page, enter an amount and a reason, save."""
        key = form_key or client.get(change_url(account)).context["adminform"].form["form_key"].value()
        data = {"amount": amount, "reason": "A gift", "form_key": key, **more}
        return client.post(change_url(account), data, follow=True)

    def test_credits_are_added_through_the_ledger(self, admin_client):
        account = make_account(credits=5)

        self.top_up(admin_client, account, amount="20")

        account.refresh_from_db()
        assert account.balance == 25
        entry = account.ledger.first()
        assert (entry.kind, entry.amount, entry.actor, entry.reason) == ("TOPUP", 20, "admin:admin", "A gift")

    @pytest.mark.parametrize(("more", "is_paid"), [({}, False), ({"is_paid": "on"}, True)])
    def test_they_are_given_unless_the_form_says_that_they_are_sold(self, admin_client, more, is_paid):
        account = make_account(credits=5)

        self.top_up(admin_client, account, amount="20", **more)

        assert account.ledger.first().is_paid is is_paid
        response = self.top_up(admin_client, account, amount="", **{"is_paid": "on"})
        assert "Only credits that are added are paid for." in response.content.decode()

    def test_the_same_form_sent_twice_books_once(self, admin_client):
        account = make_account(credits=5)

        self.top_up(admin_client, account, amount="20", form_key="abc")
        response = self.top_up(admin_client, account, amount="20", form_key="abc")

        account.refresh_from_db()
        assert account.balance == 25
        assert "This form was booked already" in response.content.decode()

    @pytest.mark.parametrize("amount", ["0", "-5", "1.5", "many", "99999999999999999999"])
    def test_an_invalid_amount_adds_nothing(self, admin_client, amount):
        account = make_account(credits=5)

        response = self.top_up(admin_client, account, amount=amount)

        assert response.status_code == 200
        assert "Please correct the error" in response.content.decode()
        account.refresh_from_db()
        assert account.balance == 5

    def take_back(self, client, account, **data: str):
        form = {"amount": "", "reason": "Added twice", "form_key": "k", **data}
        return client.post(change_url(account), form, follow=True).content.decode()

    def test_credits_are_taken_back_through_the_ledger_once(self, admin_client):
        account = make_account(credits=25)

        for _ in range(2):
            content = self.take_back(admin_client, account, taken_back="20")

        account.refresh_from_db()
        assert account.balance == 5
        entry = account.ledger.first()
        assert (entry.kind, entry.amount, entry.actor, entry.reason) == ("ADJUST", -20, "admin:admin", "Added twice")
        assert "The account has 5 credits left." in content

    def test_the_same_form_takes_back_once(self, admin_client):
        account = make_account(credits=25)

        for _ in range(2):
            content = self.take_back(admin_client, account, taken_back="10")

        account.refresh_from_db()
        assert account.balance == 15
        assert "This form was booked already" in content

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({"taken_back": "26"}, "The account has 25 credits left."),
            ({"taken_back": "5", "reason": ""}, "Say why they are taken back"),
            ({"taken_back": "5", "amount": "5"}, "one at a time"),
            ({"taken_back": "-5"}, "greater than or equal to 1"),
        ],
    )
    def test_what_cannot_be_taken_back(self, admin_client, data, message):
        account = make_account(credits=25)

        assert message in self.take_back(admin_client, account, **data)

        account.refresh_from_db()
        assert account.balance == 25

    def test_what_was_spent_meanwhile_cannot_be_taken_back(self, admin_client, monkeypatch):
        account = make_account(credits=25)
        monkeypatch.setattr("requests_app.admin.accounts.CreditsForm.clean", lambda form: form.cleaned_data)

        assert "fewer than 26 credits left" in self.take_back(admin_client, account, taken_back="26")

        assert not LedgerEntry.objects.filter(kind="ADJUST").exists()

    def test_the_history_says_what_was_booked_and_nothing_else(self, admin_client):
        account = make_account(credits=5)
        first, again = {"amount": "50", "form_key": "a"}, {"amount": "70", "form_key": "a"}
        for form in (first, again, {"taken_back": "10", "reason": "typo", "form_key": "a"}, {"form_key": "b"}):
            assert "successfully" not in admin_client.post(change_url(account), form, follow=True).content.decode()
        admin_client.post(change_url(account), {"taken_back": "20", "reason": "typo", "form_key": "c"})

        account.refresh_from_db()
        assert account.balance == 35
        history = LogEntry.objects.filter(object_id=str(account.pk)).order_by("pk")
        nothing = "Nothing was booked"
        assert [entry.change_message for entry in history] == [
            "Added 50 credits", nothing, nothing, nothing, "Took back 20 credits"
        ]  # fmt: skip

    def test_who_may_not_book_credits_saves_nothing_and_is_not_told_otherwise(self, client):
        log_in_with(client, "view_account", "change_account")
        account = make_account(credits=5)

        page = client.post(change_url(account), {"amount": "50", "form_key": "a"}, follow=True).content.decode()

        assert "Please correct" not in page
        account.refresh_from_db()
        assert account.balance == 5
        assert LogEntry.objects.get().change_message == "Nothing was booked"

    def test_the_user_with_this_id_comes_before_those_called_so(self, admin_client):
        wanted = make_request(account=make_account(key="telegram:777"))
        for number in range(101):
            make_account(key=f"cli:{number}", name=f"Bot 777 of {number}")

        for words in ("telegram:777", "777"):
            page = admin_client.get(changelist_url("request"), {"q": words})
            found = [row.id for row in page.context["cl"].result_list]
            assert found == ([wanted.id] if words == "telegram:777" else [])
        assert "More than 100 users are called so" in page.content.decode()

    def test_names_are_found_however_they_are_capitalized(self, admin_client):
        account = make_account(key="telegram:1", name="Иван Петров")

        for words in ("иван", "ИВАН", "петров"):
            found = admin_client.get(changelist_url("account"), {"q": words}).context["cl"].result_list
            assert [row.pk for row in found] == [account.pk], words
        assert not admin_client.get(changelist_url("account"), {"q": "@"}).context["cl"].result_list

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("Jörg Müller", ["muller", "MÜLLER", "Müller Jörg", "mull jorg", "  jorg   mu "]),
            ("王小明", ["王", "小明", "王小明"]),
            ("김민준", ["김", "민준"]),
            ("Łukasz Strauß", ["lukasz", "STRAUSS", "strauß"]),
            ("\U0001f98a", ["\U0001f98a"]),
            ("50%_off", ["50%_", "%_off"]),
        ],
    )
    def test_names_are_found_by_their_parts_in_any_order(self, admin_client, name, words):
        account = make_account(key="telegram:1", name=name)
        make_account(key="telegram:2", name="Ada Moeller 50 off")

        for typed in words:
            found = admin_client.get(changelist_url("account"), {"q": typed}).context["cl"].result_list
            assert [row.pk for row in found] == [account.pk], typed

    @pytest.mark.parametrize("words", ["j", "é", "j m", "jorg smith", "\u0301"])
    def test_single_letters_and_parts_that_are_not_there_find_nobody(self, admin_client, words):
        make_account(key="telegram:1", name="Jörg Müller")

        assert not admin_client.get(changelist_url("account"), {"q": words}).context["cl"].result_list

    def test_a_name_that_changes_is_found_as_it_is_now(self, admin_client):
        account = make_account(key="telegram:1", name="Before")
        account.name = "Çelik"
        account.save(update_fields=["name"])

        for words, wanted in (("before", []), ("celik", [account])):
            assert [*admin_client.get(changelist_url("account"), {"q": words}).context["cl"].result_list] == wanted

    def test_the_names_on_record_are_folded_by_the_upgrade(self, monkeypatch):
        accounts = [make_account(key=f"telegram:{number}", name=f"Müller {number}") for number in range(5)]
        Account.objects.update(folded_name="")
        migration = import_module("requests_app.migrations.0029_fold_names")

        monkeypatch.setattr(migration, "BATCH", 2)
        migration.fold_names(apps, SimpleNamespace(connection=connection))

        folded = set(Account.objects.values_list("folded_name", flat=True))
        assert folded == {f"muller {number}" for number in range(len(accounts))}

    def test_a_booking_is_found_by_its_reference(self, admin_client):
        account = make_account(credits=5)
        for kind, ref in (("TOPUP", "pay-1"), ("ADJUST", "pay-1"), ("TOPUP", "pay-2")):
            LedgerEntry.objects.create(account=account, kind=kind, amount=1, actor="t", external_ref=ref)

        found = admin_client.get(changelist_url("ledgerentry"), {"q": "pay-1"}).context["cl"].result_list

        assert {(entry.kind, entry.external_ref) for entry in found} == {("TOPUP", "pay-1"), ("ADJUST", "pay-1")}

    def test_the_balance_itself_cannot_be_edited(self, admin_client):
        account = make_account(credits=5)

        admin_client.post(change_url(account), {"balance": "999", "is_blocked": "on", "form_key": "x", "amount": ""})

        account.refresh_from_db()
        assert (account.balance, account.is_blocked) == (5, False)

    def test_blocking_asks_for_a_reason_that_the_history_keeps(self, admin_client):
        account = make_account()

        assert "Say why" in operate(admin_client, "block", account, reason=" ")
        account.refresh_from_db()
        assert not account.is_blocked

        assert "1 blocked." in operate(admin_client, "block", account)
        assert "0 blocked." in operate(admin_client, "unblock", account, action="block")
        account.refresh_from_db()
        assert account.is_blocked

        assert "1 unblocked." in operate(admin_client, "unblock", account)
        account.refresh_from_db()
        assert not account.is_blocked
        entries = LogEntry.objects.filter(object_id=str(account.pk)).order_by("pk")
        assert [(entry.user.username, entry.change_message) for entry in entries] == [
            ("admin", f"Blocked: {REASON}"),
            ("admin", f"Unblocked: {REASON}"),
        ]

    def test_the_ledger_tells_what_was_sold_from_what_was_given(self, admin_client):
        account = make_account(credits=5)
        sold = LedgerEntry.objects.create(account=account, kind="TOPUP", amount=9, actor="t", is_paid=True)
        given, others = account.ledger.get(amount=5), {"account__id__exact": make_account(credits=0).pk}

        def found(**filters):
            return list(admin_client.get(changelist_url("ledgerentry"), filters).context["cl"].result_list)

        assert (found(top_up="sold"), found(top_up="given")) == ([sold], [given])
        assert found(top_up="sold", account__id__exact=account.pk) == [sold]
        assert found(top_up="sold", **others) == []
        assert len(found(top_up="nonsense")) == 2

    def test_accounts_are_neither_added_nor_deleted(self, admin_client):
        account = make_account()

        assert admin_client.get(reverse("admin:requests_app_account_add")).status_code == 403
        assert admin_client.get(reverse("admin:requests_app_account_delete", args=[account.pk])).status_code == 403

    def test_its_links_lead_to_its_requests_and_its_ledger(self, admin_client):
        account = make_account()
        mine, other = make_request(account=account), make_request()
        content = admin_client.get(change_url(account)).content.decode()

        requests, ledger = re.findall(r'href="([^"]+__id__exact=\d+)"', content)

        listed = admin_client.get(requests).content.decode()
        assert mine.id in listed
        assert other.id not in listed
        assert admin_client.get(ledger).context["cl"].result_count == 1


class TestReadOnlyTables:
    def test_requests_events_and_ledger_are_never_edited(self, admin_client):
        account = make_account(credits=5)
        request = make_held_request(account=account)
        transition(request_id=request.id, sources=[Status.PENDING], to=Status.PROCESSING, actor="worker")

        for row in [account.ledger.first(), request.events.get(), request]:
            name = row._meta.model_name
            assert admin_client.get(changelist_url(name)).status_code == 200
            assert admin_client.get(change_url(row)).status_code == 200
            assert admin_client.post(change_url(row), {"amount": "1"}).status_code == 403
            assert admin_client.get(reverse(f"admin:requests_app_{name}_add")).status_code == 403
            assert admin_client.get(reverse(f"admin:requests_app_{name}_delete", args=[row.pk])).status_code == 403
            run_action(admin_client, "delete_selected", row)
        assert LedgerEntry.objects.count() == 2


class TestAIModels:
    def test_one_that_nobody_can_serve_is_warned_of(self, admin_client, settings):
        settings.PROVIDER_ACCESS = {"openai": Access("key", "http://127.0.0.1:9")}
        make_model(name="Deep", slug="deep", tag="deep")
        make_model(name="Off", slug="off", tag="deep", enabled=False)

        content = admin_client.get(changelist_url("aimodel")).content.decode()

        assert (
            "Deep is not offered to users: no enabled route of TEXT with the tag &#x27;deep&#x27; has a key." in content
        )
        assert "Off is not offered" not in content

    def test_price_and_order_are_edited_in_the_list(self, admin_client):
        AIModel.objects.all().delete()
        model = make_model()

        admin_client.post(
            changelist_url("aimodel"),
            {
                "form-TOTAL_FORMS": "1",
                "form-INITIAL_FORMS": "1",
                "form-0-id": str(model.pk),
                "form-0-token_cost": "7",
                "form-0-enabled": "on",
                "form-0-position": "3",
                "_save": "Save",
            },
        )

        model.refresh_from_db()
        assert (model.token_cost, model.position) == (7, 3)

    @pytest.mark.parametrize("name", ["rates", "options"])
    def test_json_is_checked_whatever_it_holds_and_nothing_is_the_default(self, admin_client, name):
        model = AIModel.objects.get(slug="image-ai")
        form = {"name": model.name, "slug": model.slug, "category": "IMAGE", "tag": "", "provider": model.provider,
                "token_cost": "5", "rates": "{}", "options": "{}", "description": "", "position": "2"}  # fmt: skip

        for typed in ("[]", "0", '"x"', "{"):
            assert admin_client.post(change_url(model), {**form, name: typed}).status_code == 200, typed
        assert admin_client.post(change_url(model), {**form, name: ""}).status_code == 302
        model.refresh_from_db()
        assert getattr(model, name) == {}

    @pytest.mark.parametrize(
        "options",
        [{"aspect_ratio": "9:16"}, {"aspect_ratio": "7:3"}, {"quality": "high", "seed": 7, "negative_prompt": "text"}],
    )
    def test_the_pages_show_models_whatever_their_options_are(self, admin_client, options):
        AIModel.objects.filter(category="IMAGE").update(options=options)
        model = AIModel.objects.get(slug="image-ai")

        assert admin_client.get(changelist_url("aimodel")).status_code == 200
        assert admin_client.get(change_url(model)).status_code == 200

    def test_a_tag_that_only_an_editing_route_has_is_one(self, admin_client):
        ProviderConfig.objects.create(
            category="IMAGE", provider="openai", name="retouch", model="m", operation="edit", tags=["retouch"]
        )
        form = {"name": "Retouch", "slug": "retouch", "category": "IMAGE", "tag": "retouch", "provider": "openai",
                "token_cost": "5", "rates": "{}", "options": "{}", "description": "", "position": "2"}  # fmt: skip

        assert admin_client.post(reverse("admin:requests_app_aimodel_add"), form).status_code == 302

    def test_a_model_in_use_cannot_be_deleted(self, admin_client):
        used, unused = make_model(category="TEXT"), make_model(category="TEXT")
        make_request(model=used)

        delete = "admin:requests_app_aimodel_delete"
        assert admin_client.get(reverse(delete, args=[used.pk])).status_code == 403
        assert admin_client.get(reverse(delete, args=[unused.pk])).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("rates", '{"per_token": "1"}'),
        ("rates", '{"per_thousand_output_tokens": "abc"}'),
        ("options", '{"max_output_tokens": "x"}'),
    ],
)
def test_wrong_rates_and_options_of_an_ai_model_are_refused_in_words(admin_client, field, typed):
    model = AIModel.objects.get(slug="text-ai")
    names = ("name", "slug", "category", "provider", "tag", "token_cost", "position", "enabled")
    form = {name: getattr(model, name) for name in names} | {"rates": "{}", "options": "{}", field: typed}

    response = admin_client.post(f"/admin/requests_app/aimodel/{model.pk}/change/", form)

    assert response.status_code == 200
    assert field in response.context["adminform"].form.errors
