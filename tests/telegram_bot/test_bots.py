"""Bots as rows: two bots mix nothing up, and a database from before has one with all that was there."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from requests_app.models import Account, Request
from telegram_bot import bots
from telegram_bot.chats import chat_ensure
from telegram_bot.models import TelegramBot, TelegramChat, TelegramUpdate, TelegramUser
from telegram_bot.updates.ingest import IngestResult, forget_known_rows, update_ingest
from tests.factories import make_account
from tests.telegram_bot.updates import message

OLD = [("telegram_bot", "0004_claims_of_updates")]


def use_bot(settings, number: int) -> None:
    settings.TELEGRAM_BOT_TOKEN = f"{number}:a-token"


@pytest.mark.django_db
class TestTwoBots:
    def test_the_same_update_and_chat_of_each_are_rows_of_their_own(self, settings, enqueued):
        update = message("Hello")
        for number in (1, 2):
            use_bot(settings, number)
            assert update_ingest(update) is IngestResult.ACCEPTED
            assert update_ingest(update) is IngestResult.DUPLICATE

        assert TelegramUpdate.objects.count() == TelegramChat.objects.count() == 2
        assert set(TelegramBot.objects.values_list("telegram_id", flat=True)) == {1, 2}

    def test_a_user_of_both_has_an_account_and_a_conversation_with_each(self, say, settings, chain):
        chain(aimlapi=[])
        for number in (1, 2):
            use_bot(settings, number)
            say(message("Hello"))

        assert TelegramUser.objects.filter(telegram_id=42).count() == Account.objects.count() == 2
        requests = Request.objects.all()
        assert (
            len({request.conversation for request in requests}) == len({request.user_id for request in requests}) == 2
        )

    def test_the_first_bot_adopts_what_was_here_before_a_token_was_set(self, settings):
        settings.TELEGRAM_BOT_TOKEN = ""
        chat = chat_ensure(telegram_id=42)

        use_bot(settings, 1)
        assert chat_ensure(telegram_id=42) == chat

        use_bot(settings, 2)
        assert chat_ensure(telegram_id=42) != chat


@pytest.mark.django_db(transaction=True)
def test_a_chat_whose_row_was_deleted_gets_another_one(enqueued):
    update_ingest(message("One"))
    TelegramChat.objects.all().delete()

    assert update_ingest(message("Two")) is IngestResult.ACCEPTED
    assert TelegramUpdate.objects.get().chat == TelegramChat.objects.get()


@pytest.fixture
def old_database(transactional_db) -> Iterator[Any]:
    """The tables as they were before, and the models that read them; the newest tables come back afterwards."""
    executor = MigrationExecutor(connection)
    executor.migrate(OLD)
    yield executor.loader.project_state(OLD).apps
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def test_a_database_from_before_keeps_its_rows_and_their_keys(old_database, settings):
    use_bot(settings, 4242)
    account = make_account()
    fields = {"kind": "message", "raw": {"update_id": 700_000_123}}
    old = {name: old_database.get_model("telegram_bot", name).objects for name in ("TelegramChat", "TelegramUpdate")}
    old["TelegramChat"].create(chat_id=9_000_000_001, type="private")
    old["TelegramUpdate"].create(update_id=700_000_123, chat_id=9_000_000_001, **fields)
    old["TelegramUpdate"].create(update_id=700_000_124, chat_id=-100_777, **fields)  # its chat has no row yet
    old_database.get_model("telegram_bot", "TelegramUser").objects.create(user_id=9_000_000_001, account_id=account.pk)
    old_database.get_model("telegram_bot", "TelegramThread").objects.create(chat_id=9_000_000_001, conversation=3)

    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    forget_known_rows()

    chat = TelegramChat.objects.get(telegram_id=9_000_000_001)
    assert chat.bot.telegram_id == 4242
    # By these keys the requests from before name their conversation and their message.
    assert chat.threads.get().conversation_key == "telegram:9000000001:0:3"
    update = TelegramUpdate.objects.get(update_id=700_000_123)
    assert (update.pk, update.chat, update.bot) == (700_000_123, chat, chat.bot)
    assert TelegramUpdate.objects.get(update_id=700_000_124).chat.telegram_id == -100_777
    user = TelegramUser.objects.get(telegram_id=9_000_000_001)
    assert (user.account, user.bot_id) == (account, bots.current_bot_id())
    # What comes now is given other keys.
    assert chat_ensure(telegram_id=5).pk > chat.pk
    assert update_ingest(message("Hello")) is IngestResult.ACCEPTED
    assert TelegramUpdate.objects.latest("pk").pk > 700_000_124
