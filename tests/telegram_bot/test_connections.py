"""No database connection is held across a call: two hundred threads wait for a network and share a few of them."""

import pytest
from django.db import connection
from urllib3 import HTTPConnectionPool

from requests_app.models import Request
from requests_app.services.execution import request_advance
from telegram_bot.models import Delivery
from tests.telegram_bot.updates import message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="an SQLite connection costs nobody anything"),
]


@pytest.fixture
def held(monkeypatch) -> dict[str, bool]:
    """Whether the calling thread held a connection, by the method of the Bot API."""
    calls: dict[str, bool] = {}
    urlopen = HTTPConnectionPool.urlopen

    def watched(pool, http_method, path, *args, **kwargs):
        method = path.rpartition("/")[2]
        calls[method] = calls.get(method, False) or connection.connection is not None
        return urlopen(pool, http_method, path, *args, **kwargs)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", watched)
    return calls


def test_none_is_held_while_a_prompt_is_answered(fake, say, streaming_chain, held):
    def read() -> None:
        held["provider"] = connection.connection is not None
        fake.wait_for(lambda: any("Half of" in text for text in fake.chat(42).texts))

    streaming_chain(read)
    request_advance(request_id=say(message("A long story")).removeprefix("accepted as "))

    assert held == {"sendMessage": False, "editMessageText": False, "provider": False}
    assert Request.objects.get().status == "COMPLETED"
    assert Delivery.objects.get().state == "DELIVERED"


def test_none_is_held_while_a_command_is_answered(say, held):
    say(message("/help"))

    assert held == {"sendMessage": False}
