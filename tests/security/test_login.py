"""Logging in: guessing ends after a few tries, for whoever guesses, and a key can be replaced without a word."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from aibot.client_address import client_address

PASSWORD = "a-long-enough-password"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _operator():
    User.objects.create_superuser("operator", password=PASSWORD)


def log_in(password: str, *, address: str = "192.0.2.1", username: str = "operator") -> int:
    form = {"username": username, "password": password}
    return Client().post("/admin/login/", form, REMOTE_ADDR=address).status_code


def test_guessing_is_over_after_ten_tries_and_the_operator_still_logs_in_elsewhere():
    assert [log_in(f"guess {number}") for number in range(9)] == [200] * 9
    assert log_in("guess 10") == 429

    assert log_in(PASSWORD) == 429
    assert log_in(PASSWORD, address="192.0.2.2") == 302
    assert log_in(PASSWORD, username="another") == 200


def test_the_page_says_when_it_opens_again(client):
    for number in range(10):
        response = client.post("/admin/login/", {"username": "operator", "password": f"guess {number}"})

    assert "15 minutes after the last try" in response.content.decode()


def test_a_success_forgets_the_tries_before_it():
    for number in range(9):
        log_in(f"guess {number}")
    assert log_in(PASSWORD) == 302

    assert log_in("guess 10") == 200


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "address"),
    [
        (True, "203.0.113.9, 198.51.100.7", "198.51.100.7"),  # the first is what the client has claimed
        (True, "", "127.0.0.1"),
        (True, "unknown", None),
        (False, "198.51.100.7", "127.0.0.1"),
    ],
)
def test_behind_a_proxy_the_address_is_the_one_that_it_added(rf, settings, behind_proxy, forwarded, address):
    settings.BEHIND_PROXY = behind_proxy

    assert client_address(rf.get("/", headers={"X-Forwarded-For": forwarded})) == address


def test_a_session_survives_the_replacement_of_the_key(settings):
    browsers = [Client(), Client()]
    for browser in browsers:
        browser.post("/admin/login/", {"username": "operator", "password": PASSWORD})
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-key"
    assert browsers[0].get("/admin/").status_code == 200

    settings.SECRET_KEY_FALLBACKS = []
    assert [browser.get("/admin/").status_code for browser in browsers] == [200, 302]  # the first was signed anew
