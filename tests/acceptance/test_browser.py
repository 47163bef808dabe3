"""The operator's day in a real browser: reads, drags a route, tests one, follows a failure, refunds, undoes."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.urls import reverse
from playwright.sync_api import Browser, Page, sync_playwright

from providers.models import ProviderConfig
from providers.sandbox.faults import InjectedFault
from requests_app.models import Account, AIModel, LedgerEntry, Request
from tests.acceptance.tools import program
from tests.factories import make_model

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]

SCREENSHOTS = Path(__file__).resolve().parent.parent.parent / "var" / "screenshots"  # which git ignores
WIDTHS = {"desk": (1440, 900), "phone": (390, 844)}
NAME, PASSWORD = "operator", "a-password-for-this-test"
PROMPT = "Why is the sky blue?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = program("chromium", package="chromium")
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # Playwright's loop runs in this thread, in which Django would take each query for a mistake.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def site(sandboxed, live_server) -> str:
    """The running site with shipped routes, an AI model and an operator; its address."""
    call_command("sync_providers", verbosity=0)
    AIModel.objects.exists() or make_model(name="Text AI", category="TEXT", provider="aimlapi")
    User.objects.create_superuser(NAME, password=PASSWORD)
    address: str = live_server.url
    return address


@pytest.fixture
def page(browser, site) -> Iterator[Page]:
    """A signed-in page. Whatever it asked another host for, or complained of, fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, base_url=site)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((site, "data:")) else wrong.append(request.url))
    page.on("response", lambda response: wrong.append(response.url) if response.status >= 500 else None)
    page.goto("/")
    page.fill("input[name=username]", NAME)
    page.fill("input[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=All times in")
    page.set_default_timeout(10_000)
    yield page
    assert wrong == []
    context.close()


def ask() -> Request:
    with suppress(CommandError):  # which its row says, too
        call_command("ask", "TEXT", PROMPT)
    return Request.objects.latest("created_at")


def drag(page: Page, route: str, above: str) -> None:
    """Drag a route above another one with the mouse."""
    start = page.locator(f"li[data-route={route}] [title=Drag]").bounding_box()
    target = page.locator(f"li[data-route={above}] [title=Drag]").bounding_box()
    assert start is not None
    assert target is not None
    page.mouse.move(start["x"] + 8, start["y"] + 8)
    page.mouse.down()
    page.mouse.move(start["x"] + 8, start["y"] - 30, steps=5)
    page.mouse.move(target["x"] + 8, target["y"] - 10, steps=15)
    page.mouse.up()


def test_a_dragged_route_is_asked_first_and_an_undone_change_is_undone(page):
    assert ask().actual_provider == "aimlapi"
    page.goto(reverse("admin:providers_providerconfig_order", args=["TEXT", "generate"]))

    drag(page, "openai", above="aimlapi")
    page.fill("input[name=why]", "cheaper this week")
    page.click("text=Save the order")

    page.wait_for_selector("text=The order is saved: openai")
    assert ask().actual_provider == "openai"

    route = ProviderConfig.objects.get(category="TEXT", name="openai")
    page.goto(reverse("admin:providers_providerconfig_history", args=[route.pk]))
    assert page.locator("text=cheaper this week").first.is_visible()
    page.locator("text=Return to this").last.click()
    page.wait_for_load_state("networkidle")
    assert ask().actual_provider == "aimlapi"


def test_a_route_is_tested_with_a_real_call(page):
    page.goto(reverse("admin:providers_providerconfig_order", args=["TEXT", "generate"]))
    page.locator("li[data-route=openai]").get_by_role("link", name="Test").click()
    page.wait_for_load_state("networkidle")

    page.locator("#content button[type=submit], #content input[type=submit]").first.click()

    page.wait_for_selector("text=It answers")
    assert page.locator("text=OpenAI").first.is_visible()


def test_a_failure_is_followed_and_an_answer_is_refunded(page, sandboxed):
    answered = ask()
    for slug in sandboxed.vendors:
        sandboxed.break_provider(slug, InjectedFault.DOWN.value)
    failed = ask()
    assert failed.status == "FAILED"

    page.goto(reverse("admin:index"))
    page.click("text=Success rate")
    page.locator("#result_list").get_by_role("link", name=re.compile(r"\d{4}-\d\d-\d\d")).first.click()
    page.wait_for_url(re.compile(failed.pk.removeprefix("req_")))
    assert page.locator("text=/\\d+ of \\d+ .*tried/").first.is_visible()

    page.goto(reverse("admin:requests_app_request_change", args=[answered.pk]))
    page.get_by_role("button", name="Refund").click()
    page.fill("input[name=reason]", "a wrong answer")
    page.locator("#content form button[type=submit]").last.click()
    page.wait_for_load_state("networkidle")
    assert LedgerEntry.objects.get(request=answered, kind="REFUND").reason == "a wrong answer"


def test_a_user_is_found_by_a_part_of_the_name(page):
    Account.objects.create(key="telegram:4242", name="Ada Lovelace")
    page.goto(reverse("admin:requests_app_account_changelist"))

    page.fill("input[name=q]", "a love")
    page.keyboard.press("Enter")

    page.wait_for_url(re.compile("q=a"))
    assert page.locator("#result_list >> text=Ada Lovelace").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_asks_nobody_else(page, browser, site, width, scheme):
    request = ask()
    model = AIModel.objects.get()
    pages = {
        "overview": reverse("admin:index"),
        "requests": reverse("admin:requests_app_request_changelist"),
        "request": reverse("admin:requests_app_request_change", args=[request.pk]),
        "routes": reverse("admin:providers_providerconfig_order", args=["TEXT", "generate"]),
        "route": reverse("admin:providers_providerconfig_change", args=[ProviderConfig.objects.earliest("pk").pk]),
        "model": reverse("admin:requests_app_aimodel_change", args=[model.pk]),
        "account": reverse("admin:requests_app_account_change", args=[request.user_id]),
        "reconciliation": reverse("admin:providers_attemptrollup_reconciliation"),
    }
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(
        viewport=size, color_scheme=scheme, base_url=site, storage_state=page.context.storage_state()
    )
    shown = context.new_page()
    for name, address in pages.items():
        shown.goto(address, wait_until="networkidle")
        shown.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
    context.close()
