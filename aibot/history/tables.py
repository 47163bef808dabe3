"""The tables that an invented history fills, which of their columns it names, and the quickest way to write rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Model

from providers.db import is_postgresql
from providers.models import Attempt
from requests_app.models import LedgerEntry, Request, RequestEvent
from telegram_bot.models import Delivery, TelegramUpdate

# In the order of the columns, in the form that both databases take: times are UTC without an offset, ids hexadecimal
# digits, JSON and costs text.
Row = tuple[str | int | bool | None, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A table and the columns that are written. Every other column has a default in the database, or an id."""

    model: type[Model]
    columns: Sequence[str]

    @property
    def name(self) -> str:
        return self.model._meta.db_table


REQUESTS = Table(
    Request,
    (
        *("id", "user_id", "model_id", "category", "purpose", "conversation", "input_text", "input_media", "options"),
        *("output_text", "output_media", "output_url", "status", "actual_provider", "actual_route", "finish_reason"),
        *("skipped", "routes_asked", "routes_passed_by", "cost", "cost_source", "processing_ms", "credits"),
        *("error_code", "intake_key", "fence"),
        *("lease_until", "next_at", "tries", "deadline_at", "created_at", "started_at", "completed_at", "rolled_up"),
    ),
)
ATTEMPTS = Table(
    Attempt,
    (
        *("id", "caller_key", "number", "label", "category", "operation", "purpose", "provider", "route", "model"),
        *("answered_by", "state", "job_id", "error_class", "error_text", "http_status", "usage", "cost"),
        *("cost_source", "reserved_cost", "duration_ms", "first_token_ms", "created_at", "finished_at", "rolled_up"),
    ),
)
ENTRIES = Table(
    LedgerEntry,
    (
        "account_id",
        "request_id",
        "kind",
        "amount",
        "is_paid",
        "actor",
        "reason",
        "external_ref",
        "purpose",
        "model_id",
        "created_at",
    ),
)
EVENTS = Table(RequestEvent, ("request_id", "from_status", "to_status", "actor", "reason", "created_at"))
DELIVERIES = Table(
    Delivery,
    (
        *("request_id", "part", "kind", "state", "chat_id", "message_id", "fence", "tries", "error"),
        *("created_at", "delivered_at"),
    ),
)
UPDATES = Table(
    TelegramUpdate,
    ("bot_id", "update_id", "chat_id", "sender_id", "kind", "raw", "received_at", "handled_at", "outcome", "tries"),
)
# In this order: a row comes after those that it refers to.
TABLES = (REQUESTS, ATTEMPTS, ENTRIES, EVENTS, DELIVERIES, UPDATES)


def rows_write(table: Table, rows: Sequence[Row]) -> None:
    """Insert rows. Call inside a transaction."""
    columns = ", ".join(connection.ops.quote_name(column) for column in table.columns)
    target = f"{connection.ops.quote_name(table.name)} ({columns})"
    with connection.cursor() as cursor:
        if not is_postgresql():
            places = ", ".join(["%s"] * len(table.columns))
            cursor.executemany(f"INSERT INTO {target} VALUES ({places})", rows)  # noqa: S608 — our own names
            return
        with cursor.copy(f"COPY {target} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
