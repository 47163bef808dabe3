"""What `manage.py check` says about Telegram."""

import pytest
from django.core.checks import run_checks

GOOD = {"TOKEN": "4242:abc_DEF-1", "SECRET": "a-secret", "URL": "https://bot.example"}


@pytest.mark.parametrize(
    ("token", "secret", "url", "ids"),
    [
        ("", "", "", []),
        (GOOD["TOKEN"], GOOD["SECRET"], GOOD["URL"], []),
        (GOOD["TOKEN"], "", "", ["telegram_bot.W001"]),
        (GOOD["TOKEN"], "", GOOD["URL"], ["telegram_bot.E001", "telegram_bot.W001"]),
        (GOOD["TOKEN"], "with spaces", GOOD["URL"], ["telegram_bot.E002"]),
        (GOOD["TOKEN"], "x" * 257, GOOD["URL"], ["telegram_bot.E002"]),
        ("a token", GOOD["SECRET"], GOOD["URL"], ["telegram_bot.W002"]),
    ],
)
def test_it_names_what_is_wrong(settings, token, secret, url, ids):
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_WEBHOOK_SECRET, settings.TELEGRAM_WEBHOOK_URL = token, secret, url

    messages = run_checks(tags=["telegram"], include_deployment_checks=True)

    assert sorted(message.id for message in messages) == ids
    assert all(message.hint for message in messages)
