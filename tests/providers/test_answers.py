"""Answers as providers and gateways really send them: text, cost and what follows from an error are right."""

import pytest

from tests.fakes.http_server import FakeServer
from tests.providers.answers import load_answers, play

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("entry", load_answers(), ids=lambda entry: entry["id"])
def test_it_comes_out_right(entry, server: FakeServer, settings):
    assert play(entry, server, settings) == entry["expect"]
