"""The hot path's compound statements for PostgreSQL, each with its twin in the ORM for SQLite.

A twin leaves the same rows (tests/requests_app/test_statements.py holds both to that); what differs is the number of
round trips and, on PostgreSQL, that a row locked by somebody else is passed by instead of waited for.
"""

from datetime import timedelta
from enum import Enum
from typing import Any

from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from providers.db import is_postgresql
from requests_app.models import Account, LedgerEntry, Request, RequestEvent
from requests_app.selectors import MAX_EARLIER_REQUESTS, earlier_turns, requests_under_way, text_under_way

Status = Request.Status

_DUE = """status IN ('PENDING', 'PROCESSING')
      AND (lease_until IS NULL OR lease_until < STATEMENT_TIMESTAMP())
      AND (next_at IS NULL OR next_at <= STATEMENT_TIMESTAMP())"""


class Acceptance(Enum):
    """What became of a prompt that was to be accepted."""

    ACCEPTED = "accepted"
    KNOWN = "known"  # the same message was accepted before
    BUSY = "busy"  # too many requests of this user are under way
    BEHIND = "behind"  # an earlier text of its conversation is under way
    UNPAID = "unpaid"  # the balance is too low


def request_insert(
    *,
    request: Request,
    actor: str,
    max_under_way: int,
    deadline_seconds: float,
    reason: str = "",
    is_in_turn: bool = False,
) -> Acceptance:
    """Write a new request with its hold and its first event, or nothing. `request` is unsaved; it gets its columns.

    With `is_in_turn` nothing is written while an open text is in its conversation.

    The count of what is under way is true: of concurrent prompts of one user, each counts those before it. Call inside
    a transaction.
    """
    if is_postgresql():
        acceptance = _insert_compound(request, actor, reason, max_under_way, deadline_seconds, is_in_turn)
        if acceptance is None:
            Account.objects.select_for_update(no_key=True).values_list("id").get(id=request.user_id)
            acceptance = _insert_compound(request, actor, reason, max_under_way, deadline_seconds, is_in_turn)
        return acceptance or Acceptance.UNPAID
    if Request.objects.filter(intake_key=request.intake_key).exists():
        return Acceptance.KNOWN
    if requests_under_way(request.user_id).count() >= max_under_way:
        return Acceptance.BUSY
    if is_in_turn and text_under_way(request.user_id, request.conversation).exists():
        return Acceptance.BEHIND
    account = Account.objects.filter(id=request.user_id, balance__gte=request.credits)
    if not account.update(balance=F("balance") - request.credits):
        return Acceptance.UNPAID
    request.deadline_at = Now() + timedelta(seconds=deadline_seconds)
    request.save(force_insert=True)
    request.refresh_from_db(fields=["deadline_at"])
    LedgerEntry.objects.create(
        account_id=request.user_id,
        request=request,
        kind=LedgerEntry.Kind.HOLD,
        amount=-request.credits,
        actor="system",
        purpose=request.purpose,
    )
    RequestEvent.objects.create(request=request, to_status=Status.PENDING, actor=actor, reason=reason[:300])
    return Acceptance.ACCEPTED


def _insert_compound(
    request: Request, actor: str, reason: str, max_under_way: int, deadline_seconds: float, is_in_turn: bool
) -> Acceptance | None:
    """Return None, with nothing written, where the account has changed since the statement began to read.

    Then what it has counted may be wrong. So no lock is held while it counts, but one is needed for a second try.
    """
    values = {
        name: _prepared(name, getattr(request, name))
        for name in (
            "id", "model_id", "category", "purpose", "conversation", "input_text", "input_media", "options", "tag",
            "terms", "intake_key",
        )
    }  # fmt: skip
    under_way, under_way_params = requests_under_way(request.user_id).values("id").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT.format(under_way=under_way),
            [
                request.intake_key,
                *under_way_params,
                request.user_id,
                request.conversation if is_in_turn else None,  # which no conversation equals
                request.user_id,
                request.credits,
                request.user_id,
                request.credits,
                max_under_way,
                *values.values(),
                request.credits,
                timedelta(seconds=deadline_seconds),  # type: ignore[list-item]  # psycopg takes it
                actor,
                reason[:300],
            ],
        )
        is_known, number_under_way, is_behind, balance, created_at, deadline_at = cursor.fetchone()
    if is_known:
        return Acceptance.KNOWN
    if number_under_way >= max_under_way:
        return Acceptance.BUSY
    if is_behind:
        return Acceptance.BEHIND
    if created_at is None:
        return Acceptance.UNPAID if balance < request.credits else None
    request.created_at, request.deadline_at = created_at, deadline_at
    request._state.adding = False
    return Acceptance.ACCEPTED


_INSERT = """
    WITH known AS (
        SELECT 1 FROM requests WHERE intake_key = %s
    ), under_way AS (
        SELECT COUNT(*) AS number FROM ({under_way}) AS rows
    ), earlier AS (
        SELECT 1 FROM requests
        WHERE user_id = %s AND completed_at IS NULL AND conversation = %s AND category = 'TEXT'
            AND status IN ('PENDING', 'PROCESSING')
    ), account AS (
        SELECT balance, xmin AS version FROM requests_app_account WHERE id = %s
    ), charged AS (
        UPDATE requests_app_account SET balance = balance - %s
        WHERE id = %s AND balance >= %s AND xmin = (SELECT version FROM account)
            AND NOT EXISTS (SELECT 1 FROM known) AND (SELECT number FROM under_way) < %s
            AND NOT EXISTS (SELECT 1 FROM earlier)
        RETURNING id
    ), accepted AS (
        INSERT INTO requests (id, model_id, category, purpose, conversation, input_text, input_media, options, tag,
            terms, intake_key, credits, deadline_at, user_id, status, output_text, output_media, output_url,
            cost_source, error_code, fence, tries, created_at)
        SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, STATEMENT_TIMESTAMP() + %s, id, 'PENDING', '', '[]', '',
            '', '', 0, 0, STATEMENT_TIMESTAMP()
        FROM charged RETURNING id, user_id, credits, purpose, created_at, deadline_at
    ), hold AS (
        INSERT INTO requests_app_ledgerentry
            (account_id, request_id, kind, amount, actor, reason, external_ref, purpose, created_at)
        SELECT user_id, id, 'HOLD', -credits, 'system', '', '', purpose, STATEMENT_TIMESTAMP() FROM accepted
    ), event AS (
        INSERT INTO requests_app_requestevent (request_id, from_status, to_status, actor, reason, created_at)
        SELECT id, '', 'PENDING', %s, %s, STATEMENT_TIMESTAMP() FROM accepted
    )
    SELECT EXISTS (SELECT 1 FROM known), (SELECT number FROM under_way), EXISTS (SELECT 1 FROM earlier),
        (SELECT balance FROM account),
        (SELECT created_at FROM accepted), (SELECT deadline_at FROM accepted)
"""


OWNED = """
    SELECT 1 FROM requests WHERE id = %s AND fence = %s AND status IN ('PENDING', 'PROCESSING') FOR NO KEY UPDATE
"""  # proves to PostgreSQL that a claim still owns an open request


def request_claim(*, request_id: str, lease_seconds: float) -> Request | None:
    """Claim a due request that no worker owns: fencing token + 1, a new lease, the event of its first claim.

    Returns the request as the claim left it, with the database's time as `now` and, where it is a text, the
    `earlier_turns` of its conversation (selectors.history_of() reads them); None where there is nothing to claim, or
    somebody holds a lock on the row. One worker succeeds, however many try.
    """
    if is_postgresql():
        claimed = Request.objects.raw(_CLAIM, [request_id, timedelta(seconds=lease_seconds)])
        return next(iter(claimed), None)
    due = Request.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=Now()),
        Q(next_at__isnull=True) | Q(next_at__lte=Now()),
        id=request_id,
        status__in=Request.OPEN,
    )
    with transaction.atomic():
        if not due.update(
            status=Status.PROCESSING,
            fence=F("fence") + 1,
            tries=F("tries") + 1,
            lease_until=Now() + timedelta(seconds=lease_seconds),
            started_at=Coalesce("started_at", Now()),
        ):
            return None
        request = Request.objects.annotate(now=Now()).get(id=request_id)
        if request.fence == 1:
            RequestEvent.objects.create(
                request=request, from_status=Status.PENDING, to_status=Status.PROCESSING, actor="worker"
            )
    request.earlier_turns = list(earlier_turns(request))  # type: ignore[attr-defined]  # as the compound one does
    return request


_CLAIM = f"""
    WITH due AS (
        SELECT id FROM requests WHERE id = %s AND {_DUE} FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE requests SET status = 'PROCESSING', fence = fence + 1, tries = tries + 1,
            lease_until = STATEMENT_TIMESTAMP() + %s, started_at = COALESCE(started_at, STATEMENT_TIMESTAMP())
        FROM due WHERE requests.id = due.id RETURNING requests.*
    ), event AS (
        INSERT INTO requests_app_requestevent (request_id, from_status, to_status, actor, reason, created_at)
        SELECT id, 'PENDING', 'PROCESSING', 'worker', '', STATEMENT_TIMESTAMP() FROM claimed WHERE fence = 1
    )
    SELECT claimed.*, STATEMENT_TIMESTAMP() AS now, (
        SELECT JSON_AGG(JSON_BUILD_ARRAY(input_text, transcript, output_text)) FROM (
            SELECT input_text, transcript, output_text FROM requests AS earlier
            WHERE claimed.category = 'TEXT' AND claimed.conversation <> '' AND earlier.user_id = claimed.user_id
                AND earlier.conversation = claimed.conversation AND earlier.created_at < claimed.created_at
                AND earlier.category = 'TEXT' AND earlier.status = 'COMPLETED' AND earlier.content_erased_at IS NULL
            ORDER BY earlier.created_at DESC LIMIT {MAX_EARLIER_REQUESTS}
        ) AS turns
    ) AS earlier_turns FROM claimed
"""  # noqa: S608 — no value is interpolated


def request_complete(*, request: Request, reason: str, charged: int, values: dict[str, Any]) -> bool:
    """Complete a request that is being answered or in quarantine, with its event and its CAPTURE.

    Of the credits held `charged` are kept, and the CAPTURE gives back the rest. `values` are columns of the request.
    Returns False, with nothing written, where the request has ended already. Call inside the transaction that marks the
    attempt as succeeded.
    """
    rest = request.credits - charged
    values = {**values, "credits": charged}
    if is_postgresql():
        columns = ", ".join(f"{connection.ops.quote_name(name)} = %s" for name in values)
        prepared = [_prepared(name, value) for name, value in values.items()]
        with connection.cursor() as cursor:
            cursor.execute(
                _COMPLETE.format(columns=columns, rest=_REST if rest else ""),
                [request.id, *prepared, *([rest] if rest else []), reason[:300], rest],
            )
            return bool(cursor.fetchone())
    for source in (Status.PROCESSING, Status.QUARANTINED):
        rows = Request.objects.filter(id=request.id, status=source)
        if rows.update(status=Status.COMPLETED, lease_until=None, next_at=None, completed_at=Now(), **values):
            RequestEvent.objects.create(
                request=request, from_status=source, to_status=Status.COMPLETED, actor="worker", reason=reason[:300]
            )
            LedgerEntry.objects.create(
                account_id=request.user_id,
                request=request,
                kind=LedgerEntry.Kind.CAPTURE,
                amount=rest,
                actor="system",
                purpose=request.purpose,
            )
            if rest:
                Account.objects.filter(id=request.user_id).update(balance=F("balance") + rest)
            return True
    return False


_COMPLETE = """
    WITH before AS (
        SELECT id, status FROM requests WHERE id = %s AND status IN ('PROCESSING', 'QUARANTINED') FOR UPDATE
    ), completed AS (
        UPDATE requests SET status = 'COMPLETED', lease_until = NULL, next_at = NULL,
            completed_at = STATEMENT_TIMESTAMP(), {columns}
        FROM before WHERE requests.id = before.id RETURNING requests.id, requests.user_id, requests.purpose
    ), {rest}event AS (
        INSERT INTO requests_app_requestevent (request_id, from_status, to_status, actor, reason, created_at)
        SELECT id, status, 'COMPLETED', 'worker', %s, STATEMENT_TIMESTAMP() FROM before
    )
    INSERT INTO requests_app_ledgerentry
        (account_id, request_id, kind, amount, actor, reason, external_ref, purpose, created_at)
    SELECT user_id, id, 'CAPTURE', %s, 'system', '', '', purpose, STATEMENT_TIMESTAMP() FROM completed
    RETURNING request_id
"""

_REST = """given_back AS (
        UPDATE requests_app_account SET balance = balance + %s
        FROM completed WHERE requests_app_account.id = completed.user_id
    ), """  # only where there is one: a flat price does not touch the account's row


def _prepared(name: str, value: Any) -> Any:
    """Return a value as the request's column of this name stores it."""
    field: models.Field[Any, Any] = Request._meta.get_field(name.removesuffix("_id") or name)  # type: ignore[assignment]  # a plain column
    return field.get_db_prep_save(value, connection)
