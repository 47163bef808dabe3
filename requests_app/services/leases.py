"""Leases: which worker owns a request, and for how long.

A claim lasts settings.LEASE_SECONDS and is renewed three times within that by one thread per process, as long as
the work goes on. A worker that dies or is frozen stops renewing, and another takes over a few seconds later. The
fencing token `fence` tells the two apart: it grows with each claim, and what an older owner writes is refused.
"""

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, close_old_connections, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from providers.db import give_back_connection, unlocked, words_of
from providers.transport.deadlines import CancelToken
from requests_app.models import Request
from requests_app.statements import OWNED, request_claim

logger = logging.getLogger("requests_app.leases")

CLAIMS_BEFORE_QUARANTINE = 8  # without progress; by then the request itself is the likely cause


@dataclass(slots=True)
class Lease:
    """One claim on one request: the proof that its worker may call providers, and the way to stop it."""

    request_id: str
    fence: int
    token: CancelToken = field(default_factory=CancelToken)

    @property
    def is_lost(self) -> bool:
        """Whether another worker owns the request by now, or it has ended, as far as this process knows."""
        return self.token.is_cancelled

    def query(self) -> tuple[str, Sequence[str | int]]:
        """Return a query that locks the request's row, and finds none where the claim was overtaken or it has ended.

        An attempt that is written by the same statement is seen by whoever claims the request next, and none is written
        after that claim.
        """
        return OWNED, (self.request_id, self.fence)

    def hold(self) -> bool:
        """Do the same for the rest of the transaction; False where query() would find none."""
        return bool(_owned_rows(self).select_for_update().values_list("id").first())

    def lose(self) -> None:
        """Note that the claim is overtaken, and abort the provider's call that is under way."""
        self.token.cancel()


def lease_claim(*, request_id: str) -> tuple[Lease, Request] | None:
    """Claim an open request that is due and that no worker owns; None where there is nothing to claim.

    See statements.request_claim(), which returns the request with the database's time as `now`.
    """
    request = request_claim(request_id=request_id, lease_seconds=settings.LEASE_SECONDS)
    return (Lease(request_id, request.fence), request) if request else None


def lease_give_back(lease: Lease, *, seconds: float, skipped: Sequence[dict[str, str]] = ()) -> bool:
    """Let any worker claim the request again, but not before so many seconds have passed.

    `skipped` is what was passed by so far: the next claim's worker would not know it. Returns False where another
    worker owns the request by now, or it has ended. This counts as progress: the number of claims without progress,
    which leads to quarantine, starts again at 0.
    """
    kept = {"skipped": list(skipped)} if skipped else {}
    next_at = Now() + timedelta(seconds=seconds)
    return bool(_owned_rows(lease).update(lease_until=None, next_at=next_at, tries=0, **kept))


def leases_renew(*, leases: Collection[Lease]) -> set[str]:
    """Extend all these leases by settings.LEASE_SECONDS from now; return the ids of the requests concerned.

    One is left out where another worker owns the request, where it has ended or is past its deadline (the sweeper must
    be able to end it, whatever its worker is stuck in), and where somebody holds a lock on the row.
    """
    fences = {lease.request_id: lease.fence for lease in leases}
    rows = Request.objects.filter(id__in=fences, status__in=Request.OPEN, deadline_at__gt=Now())
    with transaction.atomic():
        found = unlocked(rows).values_list("id", "fence")
        owned = {request_id for request_id, fence in found if fence == fences[request_id]}
        Request.objects.filter(id__in=owned).update(lease_until=Now() + timedelta(seconds=settings.LEASE_SECONDS))
    return owned


def _owned_rows(lease: Lease) -> QuerySet[Request]:
    return Request.objects.filter(id=lease.request_id, fence=lease.fence, status__in=Request.OPEN)


class LeaseKeeper:
    """Renews the leases of all requests that this process works on. Thread-safe."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def keep(self, lease: Lease) -> None:
        """Renew this lease until let_go() or until it is lost."""
        with self._lock:
            self._leases[lease.request_id] = lease
            # A forked process inherits the object but not the thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self.renew_forever, name="leases", daemon=True)
                self._thread.start()

    def let_go(self, lease: Lease) -> None:
        """Stop renewing this lease; it stays valid until it runs out."""
        with self._lock:
            if self._leases.get(lease.request_id) is lease:
                del self._leases[lease.request_id]

    @contextmanager
    def kept(self, lease: Lease) -> Iterator[None]:
        """Renew this lease inside the block, and let its loss abort the calls that this thread makes there."""
        self.keep(lease)
        try:
            with lease.token.active():
                yield
        finally:
            self.let_go(lease)

    def lose(self, request_id: str) -> None:
        """Abort the work on this request, where this process does it: it was cancelled."""
        with self._lock:
            lease = self._leases.get(request_id)
        if lease:
            lease.lose()

    def renew(self) -> None:
        """Extend every kept lease once, all together; those that were overtaken are lost, and their calls aborted.

        A lease whose row somebody holds a lock on is neither renewed nor lost: its time decides.
        """
        with self._lock:
            leases = dict(self._leases)
        if not leases:
            return
        renewed = leases_renew(leases=leases.values())
        left_out = [lease for request_id, lease in leases.items() if request_id not in renewed]
        for lease in left_out:
            if not _owned_rows(lease).filter(deadline_at__gt=Now()).exists():
                lease.lose()
                self.let_go(lease)

    def renew_forever(self) -> None:
        """Renew every kept lease three times within its span; the loop of the keeper's thread."""
        never = threading.Event()  # unlike time.sleep(), its wait does not fail under a clock that is made to jump
        while not never.wait(settings.LEASE_SECONDS / 3):
            try:
                close_old_connections()
                self.renew()
            except DatabaseError as error:
                logger.warning("Leases could not be renewed: %s", words_of(error))
            finally:
                give_back_connection()


keeper = LeaseKeeper()
