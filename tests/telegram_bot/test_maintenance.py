"""Maintenance mode: prompts wait, unpaid, with one notice; everything else goes on."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from requests_app.models import LedgerEntry, MaintenanceMode, Request
from requests_app.services.execution import request_advance
from requests_app.services.maintenance import maintenance_begin, maintenance_end
from telegram_bot import texts
from telegram_bot.due_work import chats_due
from telegram_bot.models import TelegramUpdate
from telegram_bot.selectors import updates_held_back, updates_unhandled
from telegram_bot.sweeper import sweep_telegram
from telegram_bot.updates.held_back import LOOK_AGAIN_SECONDS
from telegram_bot.updates.queue import MAX_TRIES, queue_drain
from tests.factories import make_chat
from tests.fakes.telegram import no_answer, refuse
from tests.telegram_bot.updates import GROUP_ID, mention, message

pytestmark = pytest.mark.django_db


def switch(*words: str) -> str:
    out = StringIO()
    call_command("maintenance", *words, stdout=out)
    return out.getvalue()


def drain() -> int:
    return queue_drain(chat_id=make_chat(42).pk)


def wait(seconds: float) -> None:
    """Let what waits have waited so long."""
    for update in TelegramUpdate.objects.exclude(next_at=None):
        assert update.next_at
        update.next_at -= timedelta(seconds=seconds)
        update.save()


def test_prompts_wait_with_one_notice_and_are_answered_in_order_afterwards(fake, say, chain):
    chain(aimlapi=["One", "Two"])
    switch("on")

    assert say(message("first")) == say(message("second")) == ""
    assert fake.chat(42).texts == [texts.MAINTENANCE]
    assert not Request.objects.exists()
    assert not LedgerEntry.objects.filter(kind="HOLD").exists()
    assert chats_due(10, timedelta(0)) == []
    assert (updates_held_back().count(), updates_unhandled().count()) == (2, 0)

    switch("off")
    sweep_telegram()
    assert updates_unhandled().count() == 2
    drain()
    request_advance(request_id=Request.objects.get().id)
    drain()
    assert list(Request.objects.order_by("created_at").values_list("input_text", flat=True)) == ["first", "second"]


def test_everything_else_is_answered_meanwhile_and_what_is_under_way_is_finished(fake, say, chain):
    chain(aimlapi=["Done"])
    say(message("before"))
    switch("on")
    say(message("a prompt that waits"))

    assert say(message("/help")) == "helped"
    request_advance(request_id=Request.objects.get().id)

    assert fake.chat(42).texts == ["Done", texts.MAINTENANCE, texts.HELP]


def test_in_a_group_nobodys_prompt_holds_up_another(fake, say, chain):
    chain(aimlapi=[])
    fake.chat(GROUP_ID)
    switch("on")
    say(mention("@test_bot hello"))

    assert say(message("/help@test_bot", chat_id=GROUP_ID)) == "helped"
    assert fake.chat(GROUP_ID).texts == [texts.MAINTENANCE, texts.HELP]


def test_prompts_that_were_held_back_are_answered_one_after_the_other(fake, say, chain):
    chain(aimlapi=["1", "2", "3", "4"])
    switch("on")
    for text in "abcd":
        say(message(text))
    switch("off")
    sweep_telegram()

    drain()
    for expected in (1, 2, 3, 4):
        assert Request.objects.count() == expected
        assert updates_held_back().count() == 4 - expected
        request_advance(request_id=Request.objects.get(completed_at=None).id)
        drain()

    assert [text for text in fake.chat(42).texts if text == texts.MAINTENANCE] == [texts.MAINTENANCE]
    prompts = Request.objects.order_by("created_at").values_list("input_text", flat=True)
    assert "".join(prompts) == "abcd"


def test_processes_that_disagree_on_the_setting_repeat_no_notice(fake, say, chain, settings):
    chain(aimlapi=[])
    for _ in range(3):
        settings.MAINTENANCE = True
        say(message("hello"))
        drain()
        settings.MAINTENANCE = False
        sweep_telegram()
    settings.MAINTENANCE = True
    drain()

    assert fake.chat(42).texts == [texts.MAINTENANCE]


def test_the_operators_own_notice_is_shown(fake, say, chain):
    chain(aimlapi=[])

    switch("on", "Back at noon.")
    say(message("hello"))

    assert fake.chat(42).texts == ["Back at noon."]


def test_the_setting_does_the_same(fake, say, chain, settings):
    chain(aimlapi=[])
    settings.MAINTENANCE = True

    assert say(message("hello")) == ""
    assert fake.chat(42).texts == [texts.MAINTENANCE]
    with pytest.raises(CommandError, match="MAINTENANCE=True"):
        switch("off")


def test_a_prompt_that_waits_through_a_long_maintenance_is_not_given_up(fake, say, chain):
    chain(aimlapi=[])
    maintenance_begin()
    say(message("hello"))

    for _ in range(MAX_TRIES + 2):
        TelegramUpdate.objects.update(next_at=timezone.now() - timedelta(seconds=1))
        drain()
    maintenance_end()
    sweep_telegram()
    drain()

    assert TelegramUpdate.objects.get().outcome.startswith("accepted")
    assert fake.chat(42).texts == [texts.MAINTENANCE, texts.PLACEHOLDER]


def test_without_a_sweeper_it_is_answered_all_the_same(fake, say, chain):
    chain(aimlapi=[])
    maintenance_begin()
    say(message("hello"))
    maintenance_end()

    TelegramUpdate.objects.update(next_at=timezone.now() - timedelta(seconds=1))  # as after LOOK_AGAIN
    drain()

    assert TelegramUpdate.objects.get().outcome.startswith("accepted")


def test_a_notice_that_telegram_puts_off_is_shown_later(fake, say, chain):
    chain(aimlapi=[])
    maintenance_begin()
    fake.will("sendMessage", refuse(429, "Too Many Requests", retry_after=30))

    say(message("hello"))
    assert updates_held_back().count() == 1
    wait(31)
    drain()
    wait(LOOK_AGAIN_SECONDS + 1)
    drain()

    assert fake.chat(42).texts == [texts.MAINTENANCE]
    assert updates_held_back().count() == 1


@pytest.mark.parametrize("failure", [no_answer, refuse(403, "Forbidden: bot was blocked by the user")])
def test_a_notice_that_was_perhaps_shown_or_cannot_be_is_not_repeated(fake, say, chain, failure):
    chain(aimlapi=[])
    maintenance_begin()
    fake.will("sendMessage", failure)

    say(message("hello"))
    wait(LOOK_AGAIN_SECONDS + 1)
    drain()

    assert len(fake.called("sendMessage")) == 1


def test_the_command_says_what_is_on_and_how_much_is_under_way(fake, say, chain):
    chain(aimlapi=[])
    say(message("hello"))

    assert switch("show") == "Maintenance mode is off. Requests under way: 1.\n"
    assert switch("on") == switch("on") == "Maintenance mode is on. Requests under way: 1.\n"
    assert switch("off") == "Maintenance mode is off. Requests under way: 1.\n"
    with pytest.raises(CommandError, match="300"):
        switch("on", "x" * 301)
    assert not MaintenanceMode.objects.exists()
