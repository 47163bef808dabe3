"""System checks of the Telegram settings."""

import pytest
from django.core.checks import run_checks

SERVED = ("/", "/telegram/webhook", "/telegram/webhook/", "/behind-a-proxy/telegram/webhook/")
VALID = {"TOKEN": "4242:abc_DEF-1", "SECRET": "a-secret", "URL": "https://bot.example"}


@pytest.mark.parametrize(
    ("token", "secret", "url", "ids"),
    [
        ("", "", "", []),
        (VALID["TOKEN"], VALID["SECRET"], VALID["URL"], []),
        *((VALID["TOKEN"], VALID["SECRET"], f"{VALID['URL']}{path}", []) for path in SERVED),
        (VALID["TOKEN"], VALID["SECRET"], f"{VALID['URL']}/wrong/", ["telegram_bot.W003"]),
        (VALID["TOKEN"], "", "", ["telegram_bot.W001"]),
        (VALID["TOKEN"], "", VALID["URL"], ["telegram_bot.E001", "telegram_bot.W001"]),
        (VALID["TOKEN"], "with spaces", VALID["URL"], ["telegram_bot.E002"]),
        (VALID["TOKEN"], "x" * 257, VALID["URL"], ["telegram_bot.E002"]),
        ("a token", VALID["SECRET"], VALID["URL"], ["telegram_bot.W002"]),
    ],
)
def test_each_invalid_setting_has_its_check(settings, token, secret, url, ids):
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_WEBHOOK_SECRET, settings.TELEGRAM_WEBHOOK_URL = token, secret, url

    messages = run_checks(tags=["telegram"], include_deployment_checks=True)

    assert sorted(message.id for message in messages) == ids
    assert all(message.hint for message in messages)
