"""Places, contacts, polls and lists reach the model in words."""

import pytest

from requests_app.models import Request
from tests.factories import make_chat, make_model
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db

BERLIN = {"latitude": 52.5, "longitude": 13.4}
POLL = {
    "id": "1", "question": "Tea?", "total_voter_count": 0, "is_closed": False, "is_anonymous": True,
    "type": "regular", "allows_multiple_answers": False, "allows_revoting": False, "members_only": False,
    "options": [{"persistent_id": text, "text": text, "voter_count": 0} for text in ("Yes", "No")],
}  # fmt: skip
ITEMS = [
    ({"location": BERLIN}, "A location: latitude 52.5, longitude 13.4"),
    (
        {"venue": {"location": BERLIN, "title": "Zoo", "address": "Hardenbergplatz 8"}, "location": BERLIN},
        "A place: Zoo, Hardenbergplatz 8 (latitude 52.5, longitude 13.4)",
    ),
    ({"contact": {"phone_number": "+49 30 1", "first_name": "Ada", "last_name": "L."}}, "A contact: Ada L., +49 30 1"),
    ({"poll": POLL}, "A poll: Tea?\n– Yes\n– No"),
    (
        {
            "checklist": {
                "title": "Shopping",
                "tasks": [
                    {"id": 1, "text": "Milk", "completion_date": 1_790_000_000},
                    {"id": 2, "text": "Tea", "completion_date": 0},
                ],
            }
        },
        "A list: Shopping\n– [x] Milk\n– [ ] Tea",
    ),
]
ids = [next(iter(fields)) for fields, _ in ITEMS]


@pytest.mark.parametrize(("fields", "words"), ITEMS, ids=ids)
def test_one_is_a_prompt(fake, say, fields, words):
    assert say(message(**fields)).startswith("accepted")

    assert Request.objects.get().input_text == words


@pytest.mark.parametrize(("fields", "words"), ITEMS, ids=ids)
def test_a_reply_is_about_it(fake, say, fields, words):
    ben = {"id": 77, "is_bot": False, "first_name": "Ben"}

    say(message("What about that?", reply_to_message=message(**fields, **{"from": ben})["message"]))

    quoted = "\n".join(f"> {line}" for line in words.split("\n"))
    expected = f"I reply to this message of somebody else:\n{quoted}\n\nWhat about that?"
    assert Request.objects.get().input_text == expected


def test_in_a_chat_of_images_one_is_answered_in_words(fake, say):
    make_model()
    make_chat(42, model=make_model(category="IMAGE"), type="private")

    say(message(location=BERLIN))

    assert Request.objects.get().category == "TEXT"
