"""Mutation tests: break one rule of the promise at a time and show which test catches it: `make mutants`.

Each mutant is applied to a copy of the tree, where it must fit exactly: one that does not has become stale and counts
as an error, as does one with which the tests cannot even start. A mutant that no test catches has survived: the proof
has a gap.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FAILED = re.compile(r"^(?:FAILED|ERROR|SUBFAILED)(\[.*\])? (\S+)", re.MULTILINE)
CONTROL_SECONDS = 1200  # at most, for all tests without a mutant
MIN_LIMIT_SECONDS = 180  # for the tests of one mutant; one that makes them hang is caught, too

CRASHES = "tests/proof/test_crash_points.py"
LATE_CALLS = "tests/proof/test_late_calls.py"
LOCKS = "tests/proof/test_locks.py"
EXAMPLES = "tests/proof/test_state_machine.py"
CLAIMS = "tests/requests_app/test_claiming.py"
CREDITS = "tests/requests_app/test_hold_and_capture.py"
CHAIN = "tests/requests_app/test_execution.py"
JOBS = "tests/requests_app/test_long_jobs.py"
QUEUE = "tests/telegram_bot/test_update_queue.py"
RATES = "tests/requests_app/test_credit_rates.py"
SCHEMA = "tests/test_schema.py"
SPENDING = "tests/providers/test_spending.py"
SPOKEN = "tests/requests_app/test_spoken_prompts.py"
STATEMENTS = "tests/requests_app/test_statements.py"
SWEEPER = "tests/requests_app/test_sweeper.py"
CONNECTIONS = "tests/telegram_bot/test_connections.py"
DUE_WORK = "tests/requests_app/test_due_work.py"
DELIVERY = "tests/telegram_bot/test_delivery.py"
FAULTS = "tests/requests_app/test_database_faults.py"
LADDER = "tests/telegram_bot/test_ladder.py"
CANCEL = "tests/telegram_bot/test_cancel_charges.py"
HANDLERS = "tests/telegram_bot/test_idempotent_handlers.py"
PLACEHOLDER = "tests/telegram_bot/test_placeholder.py"
STREAMING = "tests/telegram_bot/test_streaming.py"
WEBHOOK = "tests/telegram_bot/test_webhook.py"
NEED_POSTGRESQL = {CANCEL, CONNECTIONS, CRASHES, EXAMPLES, FAULTS, LOCKS, QUEUE, SCHEMA, SPENDING, STATEMENTS}


@dataclass(frozen=True)
class Edit:
    """One change of one file."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One broken rule, and the tests that must catch it."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def needs_servers(self) -> bool:
        """Return whether the tests need PostgreSQL; the others are faster on SQLite."""
        return not NEED_POSTGRESQL.isdisjoint(self.tests)


def mutant(name: str, tests: tuple[str, ...], *edits: tuple[str, str, str]) -> Mutant:
    return Mutant(name, tuple(Edit(*edit) for edit in edits), tests)


MUTANTS = (
    # Nothing is lost.
    mutant(
        "a worker finds no request in the database by itself",
        (DUE_WORK,),
        ("requests_app/due_work.py", "requests_due(limit, queue=TEXT, grace=grace)", "[]"),
    ),
    mutant(
        "the sweeper and the renewal of leases wait for a row that somebody has locked",
        (FAULTS,),
        ("providers/db.py", "select_for_update(no_key=True, skip_locked=True)", "select_for_update(no_key=True)"),
    ),
    mutant(
        "an update is acknowledged before it is written",
        (WEBHOOK,),
        ("telegram_bot/updates/ingest.py", "        update.save(force_insert=True)\n", "        pass\n"),
    ),
    mutant(
        "a lost submission is not searched for",
        (JOBS,),
        ("providers/chain/fallback.py", "is_adoptable=policy is UnknownPolicy.ADOPT", "is_adoptable=False"),
    ),
    mutant(
        "a job's id is not committed",
        (JOBS,),
        ("providers/chain/attempts.py", 'state=Attempt.State.RUNNING, job_id=job.id, error_class=""', 'error_class=""'),
    ),
    mutant(
        "success and answer are two transactions",
        (CRASHES,),
        (
            "providers/chain/fallback.py",
            "        with transaction.atomic():\n            answer = attempt.succeed(result, media)\n"
            "            self._store(answer)\n",
            "        answer = attempt.succeed(result, media)\n        self._store(answer)\n",
        ),
    ),
    mutant(
        "the verdict of earlier attempts is ignored",
        (CHAIN,),
        (
            "providers/chain/fallback.py",
            "self._outcomes = [past_outcome(attempt) for attempt in self._attempts]",
            "self._outcomes = []",
        ),
    ),
    # Nothing is charged or paid for twice.
    mutant(
        "a claim ignores the lease",
        (CLAIMS,),
        (
            "requests_app/statements.py",
            "        Q(lease_until__isnull=True) | Q(lease_until__lt=Now()),\n        Q(next_at__isnull=True)",
            "        Q(next_at__isnull=True)",
        ),
    ),
    mutant(
        "an earlier owner may end a request: no fencing token",
        (CREDITS,),
        ("requests_app/states.py", "        rows = rows.filter(fence=fence)\n", "        pass\n"),
    ),
    mutant(
        "a worker continues after it has lost its lease",
        (CHAIN, EXAMPLES),
        (
            "providers/chain/attempts.py",
            "attempt_insert(attempt=attempt, proof=proof, check=check)",
            "attempt_insert(attempt=attempt, proof=None, check=check)",
        ),
    ),
    mutant(
        "the database allows two calls of one request at once",
        (SCHEMA,),
        (
            "providers/migrations/0014_restore_one_live_attempt.py",
            "    schema_editor.add_constraint(attempt_model, constraint)\n",
            "",
        ),
    ),
    mutant(
        "a lease runs by the worker's clock",
        (CLAIMS,),
        (
            "requests_app/statements.py",
            "            lease_until=Now() + timedelta(seconds=lease_seconds),\n            started_at=",
            "            lease_until=timezone.now() + timedelta(seconds=lease_seconds),\n            started_at=",
        ),
        (
            "requests_app/statements.py",
            "from django.db import connection",
            "from django.utils import timezone\nfrom django.db import connection",
        ),
    ),
    mutant(
        "a call that its user has cancelled counts against its provider",
        (CHAIN,),
        ("providers/chain/fallback.py", "    if is_cancelled():\n", "    if False:\n"),
    ),
    mutant(
        "an outcome is committed once only",
        (FAULTS,),
        ("providers/db.py", "if connection.in_atomic_block or deadline.remaining() < pause_seconds:", "if True:"),
    ),
    mutant(
        "an answer of a quarantined request is thrown away",
        (FAULTS,),
        (
            "requests_app/statements.py",
            "for source in (Status.PROCESSING, Status.QUARANTINED):",
            "for source in (Status.PROCESSING,):",
        ),
        (
            "requests_app/statements.py",
            "status IN ('PROCESSING', 'QUARANTINED') FOR UPDATE",
            "status = 'PROCESSING' FOR UPDATE",
        ),
    ),
    mutant(
        "the same message is accepted twice",
        (CREDITS,),
        (
            "requests_app/statements.py",
            "    if Request.objects.filter(intake_key=request.intake_key).exists():\n",
            "    if False:\n",
        ),
        (
            "requests_app/models.py",
            "    intake_key = models.CharField(max_length=100, unique=True)",
            "    intake_key = models.CharField(max_length=100)",
        ),
        (
            "requests_app/migrations/0001_initial.py",
            "('intake_key', models.CharField(max_length=100, unique=True))",
            "('intake_key', models.CharField(max_length=100))",
        ),
    ),
    mutant(
        "a hold ignores the balance",
        (CREDITS,),
        (
            "requests_app/statements.py",
            "filter(id=request.user_id, balance__gte=request.credits)",
            "filter(id=request.user_id)",
        ),
    ),
    mutant(
        "credits are released whoever ended the request",
        (CREDITS,),
        (
            "requests_app/services/completion.py",
            "        if has_ended:\n            attempts_with_jobs",
            "        if True:\n            attempts_with_jobs",
        ),
    ),
    mutant(
        "an ended request may end again, and be captured twice",
        (CREDITS,),
        ("requests_app/states.py", "rows.filter(status=source).update", "rows.update"),
        (
            "requests_app/migrations/0001_initial.py",
            "models.UniqueConstraint(condition=models.Q(('kind__in', ['CAPTURE', 'RELEASE']))",
            "models.UniqueConstraint(condition=models.Q(('kind__in', ['NEVER']))",
        ),
    ),
    mutant(
        "a call of a crashed worker counts as never made",
        (EXAMPLES,),
        (
            "providers/chain/attempts.py",
            '    "state": Attempt.State.UNKNOWN,\n    "error_class": WORKER_LOST,',
            '    "state": Attempt.State.FAILED,\n    "error_class": WORKER_LOST,',
        ),
    ),
    mutant(
        "an expensive call of unknown outcome is repeated elsewhere",
        (CHAIN,),
        (
            "providers/chain/fallback.py",
            "        if outcome.maybe_paid and outcome.policy is UnknownPolicy.STOP:\n"
            "            return Verdict(PaymentUncertain)\n",
            "",
        ),
    ),
    mutant(
        "an unknown cost counts as zero",
        (CHAIN,),
        (
            "providers/pricing.py",
            "CostSource.ESTIMATED\n    return None, CostSource.UNKNOWN\n",
            "CostSource.ESTIMATED\n    return Decimal(0), CostSource.UNKNOWN\n",
        ),
    ),
    mutant(
        "a late answer is dropped, and its cost with it",
        (CHAIN,),
        (
            "providers/chain/attempts.py",
            "            rows.filter(state=Attempt.State.UNKNOWN).update(**outcome)\n",
            "            pass\n",
        ),
    ),
    mutant(
        "a call that a lost worker left open stays open after its request's end",
        (LATE_CALLS,),
        ("requests_app/services/sweeper.py", " + _faulty.each(_close_orphaned, _orphaned())", ""),
    ),
    mutant(
        "the job of a cancelled video is not cancelled",
        (JOBS,),
        ("requests_app/due_work.py", "for attempt_id in jobs_to_cancel()[:limit]", "for attempt_id in ()"),
    ),
    mutant(
        "a row is enqueued at every sweep while it waits",
        (SWEEPER,),
        (
            "requests_app/services/sweeper.py",
            "    return swept + heartbeats_remove_stale()\n",
            "    from requests_app.due_work import due_work\n    from requests_app.dispatch import enqueue\n"
            "    for task, key in due_work(500):\n        enqueue(task, key)\n"
            "    return swept + heartbeats_remove_stale()\n",
        ),
    ),
    mutant(
        "the owner of a chat lets go of it before a late update is seen",
        (QUEUE,),
        ("telegram_bot/statements.py", "COALESCE(chat.is_wanted AND chat.holder = %(holder)s, FALSE)", "FALSE"),
    ),
    mutant(
        "a connection is held while a provider is called",
        (CONNECTIONS,),
        (
            "providers/chain/fallback.py",
            "        give_back_connection()\n        prompt = replace(\n",
            "        prompt = replace(\n",
        ),
    ),
    mutant(
        "a connection is held while the Bot API is called",
        (CONNECTIONS,),
        ("telegram_bot/api/client.py", "        give_back_connection()\n", ""),
    ),
    # Nothing that two workers change at once is lost or counted twice: row locks.
    mutant(
        "two prompts of one user are accepted at once",
        (LOCKS,),
        ("requests_app/statements.py", "AND xmin = (SELECT version FROM account)", "AND TRUE"),
    ),
    mutant(
        "one of two failures is lost: the breaker locks no row",
        (LOCKS,),
        (
            "providers/chain/circuit_breaker.py",
            "circuit.rows().select_for_update().annotate",
            "circuit.rows().annotate",
        ),
    ),
    mutant(
        "two calls take the same rest of a daily cap",
        (SPENDING,),
        (
            "providers/chain/spending.py",
            'cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])',
            "pass",
        ),
    ),
    mutant(
        "another provider is paid where our own storage takes no output",
        (JOBS,),
        (
            "providers/chain/fallback.py",
            "            return self._store_again(attempt, error)\n",
            "            pass\n",
        ),
    ),
    mutant(
        "two sweepers fold the same attempts",
        (LOCKS,),
        (
            "providers/statistics/folding.py",
            "unlocked(self.foldable()).order_by",
            "self.foldable().order_by",
        ),
    ),
    mutant(
        "two sweepers write the same hourly sum",
        (LOCKS,),
        (
            "providers/statistics/folding.py",
            "{table}.{column} + excluded.{column}",
            "excluded.{column}",
        ),
    ),
    # Nothing is shown twice.
    mutant(
        "a message whose sender crashed is sent again",
        (CRASHES,),
        (
            "telegram_bot/sweeper.py",
            '"state": DeliveryState.UNCERTAIN, "error": "its sender was lost"',
            '"state": DeliveryState.PENDING, "error": "its sender was lost"',
        ),
    ),
    mutant(
        "a message without a confirmation is sent again",
        (DELIVERY,),
        (
            "telegram_bot/delivery/retries.py",
            "rows.update(state=DeliveryState.UNCERTAIN, error=_words(error), next_at=None)",
            "rows.update(state=DeliveryState.PENDING, error=_words(error), next_at=None)",
        ),
    ),
    mutant(
        "the answer is a message of its own",
        (DELIVERY,),
        (
            "telegram_bot/delivery/ladder.py",
            "        client.edit(chat_id, message_id, content)\n",
            "        client.send(chat_id, content)\n",
        ),
    ),
    mutant(
        "a part is sent while another worker sends it",
        (DELIVERY,),
        (
            "telegram_bot/delivery/claims.py",
            "_owned(delivery).filter(Q(next_at__isnull=True) | Q(next_at__lte=Now()), state__in=states)",
            "Delivery.objects.filter(pk=delivery.pk)",
        ),
    ),
    mutant(
        "a file is uploaded while another worker uploads it",
        (LADDER,),
        (
            "telegram_bot/delivery/claims.py",
            "seconds = client.UPLOAD_SECONDS + STORAGE_SECONDS + MARGIN_SECONDS",
            "seconds = 3",
        ),
    ),
    mutant(
        "part 0 is edited without a claim",
        (LADDER,),
        (
            "telegram_bot/delivery/claims.py",
            '        "next_at": Now() + timedelta(seconds=seconds),\n',
            '        "next_at": None if delivery.part == 0 else Now() + timedelta(seconds=seconds),\n',
        ),
    ),
    mutant(
        "a confirmed upload is uploaded again",
        (LADDER,),
        ("telegram_bot/delivery/ladder.py", "step.content.kind == delivery.file_kind", "not delivery.file_kind"),
    ),
    # Nobody reads for nothing, and nobody pays for what cannot be shown.
    mutant(
        "who cancels is not charged for what was shown",
        (CANCEL,),
        ("requests_app/services/cancellation.py", "            shown_bytes=shown_bytes,\n", ""),
    ),
    # Credits by size: the rest of a hold comes back, once, and no answer costs more than was agreed.
    mutant(
        "a capture by size keeps the whole hold in the balance",
        (STATEMENTS, RATES),
        (
            "requests_app/statements.py",
            "SET balance = balance + %s\n        FROM completed",
            "SET balance = balance + 0 * %s\n        FROM completed",
        ),
    ),
    mutant(
        "an answer costs more than was held",
        (RATES,),
        (
            "requests_app/services/completion.py",
            "return min(request.credits, Terms.from_dict(request.terms).credits_for(size))",
            "return Terms.from_dict(request.terms).credits_for(size)",
        ),
    ),
    mutant(
        "the provider may write more than was paid for",
        (RATES,),
        (
            "providers/chain/candidates.py",
            "min(max_output_tokens, prompt.output_limit or max_output_tokens)",
            "max_output_tokens",
        ),
    ),
    # What was said is a question of its own: asked once, and a part of the request's cost.
    mutant(
        "a transcript is made again after a crash",
        (SPOKEN,),
        (
            "requests_app/services/execution.py",
            "    if request.transcript is None:\n        if not can_transcribe():\n",
            "    if True:\n        if not can_transcribe():\n",
        ),
    ),
    mutant(
        "the cost of a transcript is forgotten",
        (SPOKEN,),
        ("requests_app/services/completion.py", "    if request.transcript is None:\n", "    if True:\n"),
    ),
    mutant(
        "a refusal to hear counts as one to answer",
        (SPOKEN,),
        (
            "providers/chain/fallback.py",
            "(attempt.operation == Operation.TRANSCRIBE) == is_transcript",
            "attempt.operation or is_transcript",
        ),
    ),
    mutant(
        "a minute that was heard is not charged",
        (SPOKEN,),
        ("requests_app/services/completion.py", "        heard_seconds=request.input_seconds,\n", ""),
    ),
    mutant(
        "a chat that came back loses its messages",
        (DELIVERY,),
        ("telegram_bot/chats.py", "@transaction.atomic\ndef chat_set_reachable", "def chat_set_reachable"),
    ),
    mutant(
        "a partial answer is noted without the lock",
        (CANCEL,),
        ("telegram_bot/delivery/claims.py", "OPEN).select_for_update(no_key=True)", "OPEN)"),
    ),
    mutant(
        "an answer that cannot be shown stays charged",
        (LADDER,),
        ("telegram_bot/delivery/claims.py", "            request_refund(request_id", "            dict(request_id"),
    ),
    mutant(
        "a repeated /cancel chooses another request",
        (HANDLERS,),
        ("telegram_bot/handlers/context.py", "noted = self.noted_target", 'noted = ""'),
        (
            "telegram_bot/handlers/context.py",
            '                noted = row.values_list("target", flat=True).first() or noted\n',
            "                pass\n",
        ),
    ),
    mutant(
        "a late second placeholder stays",
        (PLACEHOLDER,),
        ("telegram_bot/delivery/placeholder.py", "        _remove(client, delivery, message_id)\n", ""),
    ),
    mutant(
        "the deadline of a partial edit begins after the last look",
        (STREAMING,),
        ("telegram_bot/delivery/streaming.py", "message_id, part, deadline=deadline)", "message_id, part)"),
    ),
    mutant(
        "an answer that two workers have streamed is shown once",
        (STREAMING,),
        ("telegram_bot/delivery/backend.py", "request.fence > 1 if", "False if"),
    ),
    mutant(
        "the sweeper ends what a worker has claimed since its query",
        (SWEEPER,),
        (
            "requests_app/services/sweeper.py",
            "unlocked(_overdue().filter(id=request_id))",
            "unlocked(Request.objects.filter(id=request_id))",
        ),
    ),
)


class Stale(Exception):
    """A mutant no longer fits the code."""


def main() -> int:
    names = sys.argv[1:]  # or parts of names; none means all
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="aibot-mutants-") as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        # Where the tests fail without a mutant, a failure with one means nothing.
        control = Mutant("none", (), tuple(sorted({test for mutant in chosen for test in mutant.tests})))
        began = time.monotonic()
        if chosen and (test := _catching_test(control, tree, max_seconds=CONTROL_SECONDS)):
            print(f"The tests fail without a mutant: {test}")
            return 1
        # A loaded machine must not look like a mutant that makes the tests hang.
        max_seconds = max(MIN_LIMIT_SECONDS, 2 * (time.monotonic() - began))
        print(f"{'mutant':<58} caught by", flush=True)
        for mutant in chosen:
            began = time.monotonic()
            try:
                with _applied(mutant, tree):
                    test = _catching_test(mutant, tree, max_seconds=max_seconds)
            except Stale as error:
                test = None
                print(f"{mutant.name:<58} STALE: {error}", flush=True)
            else:
                seconds = time.monotonic() - began
                print(f"{mutant.name:<58} {test or 'NOBODY: it survives'} ({seconds:.0f} s)", flush=True)
            survivors += test is None
    print(f"{len(chosen)} mutants, {survivors} not caught")
    return 1 if survivors else 0


def _copy(tree: Path) -> None:
    """Copy the files that git tracks, with their uncommitted changes."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, tree / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


@contextmanager
def _applied(mutant: Mutant, tree: Path) -> Iterator[None]:
    originals: dict[Path, str] = {}
    try:
        for edit in mutant.edits:
            path = tree / edit.file
            text = path.read_text()
            if text.count(edit.old) != 1:
                raise Stale(f"{edit.file} contains {edit.old.strip()[:60]!r} {text.count(edit.old)} times")
            originals.setdefault(path, text)
            path.write_text(text.replace(edit.old, edit.new))
        yield
    finally:
        for path, text in originals.items():
            path.write_text(text)


def _catching_test(mutant: Mutant, tree: Path, *, max_seconds: float) -> str | None:
    """Return the test that catches the mutant; None where none does. Raises Stale where the tests cannot run."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "--tb=no", "-rfE", "--show-capture=no", *mutant.tests]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=_environment(mutant),
            capture_output=True,
            text=True,
            timeout=max_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{mutant.tests[-1]}, which does not end"
    if done.returncode not in (0, 1):
        raise Stale(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}")
    found = FAILED.search(done.stdout)
    if done.returncode == 0:
        return None
    return f"{found[2].partition('::')[2]} {found[1] or ''}".strip() if found else "a test"


def _environment(mutant: Mutant) -> Mapping[str, str]:
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if not mutant.needs_servers:
        variables.pop("TEST_DATABASE_URL", None)
        variables.pop("TEST_REDIS_URL", None)
    return variables


if __name__ == "__main__":
    sys.exit(main())
