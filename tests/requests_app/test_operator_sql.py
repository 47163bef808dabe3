"""The SQL queries that operators use, to the letter, on whichever database the tests use."""

from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection

from tests.factories import make_account, make_model, make_request

pytestmark = pytest.mark.django_db

NEWEST = """
SELECT id, input_text, actual_provider, status FROM requests ORDER BY created_at DESC LIMIT 5;
"""
BY_PROVIDER = """
SELECT actual_provider, COUNT(*), SUM(CASE WHEN status = 'COMPLETED' THEN 1 ELSE 0 END) FROM requests WHERE actual_provider IS NOT NULL GROUP BY actual_provider;
"""  # noqa: E501 — to the letter
BY_MODEL = """
SELECT m.name, m.provider, r.actual_provider, COUNT(*), m.token_cost FROM requests r JOIN ai_models m ON r.model_id = m.id
 WHERE r.actual_provider IS NOT NULL GROUP BY m.name, m.provider, r.actual_provider, m.token_cost;
"""  # noqa: E501 — to the letter


FIND_A_PROMPT = """
SELECT id, created_at, user_id, input_text FROM requests
WHERE created_at > '2026-11-01' AND LOWER(input_text) LIKE '%penguin%' ORDER BY created_at DESC LIMIT 50;
"""


def run(sql: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


@pytest.fixture(autouse=True)
def _requests():
    account, model = make_account(), make_model(name="Fine Text", provider="xai", token_cost=3)
    answered = {
        "status": "COMPLETED",
        "output_text": "Hi",
        "cost": Decimal("0.001"),
        "completed_at": "2026-11-23T10:00:05Z",
    }
    for number, provider in enumerate(["openai", "openai", "piapi"]):
        make_request(
            account=account,
            model=model,
            actual_provider=provider,
            input_text=f"Question {number}",
            created_at=f"2026-11-23T10:00:0{number}Z",
            **answered,
        )
    make_request(account=account, model=model, input_text="Open", created_at="2026-11-23T10:00:09Z")


def test_the_newest_requests():
    rows = run(NEWEST)

    assert [row[1:] for row in rows] == [
        ("Open", None, "PENDING"),
        ("Question 2", "piapi", "COMPLETED"),
        ("Question 1", "openai", "COMPLETED"),
        ("Question 0", "openai", "COMPLETED"),
    ]
    assert all(row[0].startswith("req_") for row in rows)


def test_requests_by_provider():
    assert sorted(run(BY_PROVIDER)) == [("openai", 2, 2), ("piapi", 1, 1)]


def test_requests_by_model_and_provider():
    assert sorted(run(BY_MODEL)) == [("Fine Text", "xai", "openai", 2, 3), ("Fine Text", "xai", "piapi", 1, 3)]


def test_a_prompt_is_found_by_its_words():
    wanted = make_request(input_text="Where do Penguins live?", created_at="2026-11-20T10:00:00Z")
    make_request(input_text="A penguin of long ago", created_at="2026-10-20T10:00:00Z")

    assert [row[0] for row in run(FIND_A_PROMPT)] == [wanted.id]
    paper = Path(__file__).parents[2] / "docs" / "operations.md"
    assert FIND_A_PROMPT.strip() in paper.read_text(encoding="utf-8")
