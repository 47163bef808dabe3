"""System checks of the settings that name a class or a function by its dotted path."""

import pytest
from django.core.checks import run_checks

from requests_app.delivery_backend import DeliveryBackend


class Backend(DeliveryBackend):
    pass


@pytest.mark.parametrize(
    "path",
    [
        "nope.Nope",
        "nope",
        "requests_app.delivery_backend.Nope",
        ".Nope",
        "..x.Nope",
        "aibot.env.env_int",
        "builtins.dict",
    ],
)
def test_a_delivery_backend_that_is_none_is_an_error(settings, path):
    settings.DELIVERY_BACKEND = path

    (message,) = run_checks(tags=["requests_app"])

    assert message.id == "requests_app.E001"
    assert message.msg.startswith("DELIVERY_BACKEND must name a DeliveryBackend class by its dotted path, and ")
    assert path in message.msg
    assert message.hint


@pytest.mark.parametrize("path", ["requests_app.delivery_backend.DeliveryBackend", f"{__name__}.Backend"])
def test_a_delivery_backend_that_is_one_is_accepted(settings, path):
    settings.DELIVERY_BACKEND = path

    assert run_checks(tags=["requests_app"]) == []


def test_a_sweep_that_is_missing_is_an_error(settings):
    settings.SWEEPS = [*settings.SWEEPS, "telegram_bot.sweeper.nope"]

    assert [message.id for message in run_checks(tags=["requests_app"])] == ["requests_app.E002"]
