"""Leases: which worker owns a request, and for how long.

A claim lasts settings.LEASE_SECONDS and is renewed three times within that by one thread per process, as long as
the work goes on. A worker that dies or is frozen stops renewing, and another takes over a few seconds later. The
fencing token `fence` tells the two apart: it grows with each claim, and what an older owner writes is refused.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, close_old_connections, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Now

from providers.db import give_back_connection
from requests_app.errors import LeaseLost
from requests_app.models import Request, RequestEvent

logger = logging.getLogger("requests_app.leases")

CLAIMS_BEFORE_QUARANTINE = 8  # without progress; by then the request itself is the likely cause


@dataclass(slots=True)
class Lease:
    """One claim on one request."""

    request_id: str
    fence: int
    is_lost: bool = field(default=False)

    def check(self) -> None:
        """Raise LeaseLost where another worker has claimed the request since, or where it has ended."""
        if self.is_lost or not _owned_rows(self).exists():
            self.is_lost = True
            raise LeaseLost


def lease_claim(*, request_id: str) -> tuple[Lease, Request] | None:
    """Claim an open request that is due and that no worker owns; None where there is nothing to claim.

    One conditional UPDATE decides, so of all workers that try at once, one succeeds. The request is returned as the
    claim left it, with the database's time as `now`.
    """
    rows = Request.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=Now()),
        Q(next_at__isnull=True) | Q(next_at__lte=Now()),
        id=request_id,
        status__in=Request.OPEN,
    )
    with transaction.atomic():
        if not rows.update(
            status=Request.Status.PROCESSING,
            fence=F("fence") + 1,
            tries=F("tries") + 1,
            lease_until=_lease_end(),
            started_at=Coalesce("started_at", Now()),
        ):
            return None
        request = Request.objects.annotate(now=Now()).get(id=request_id)
        if request.fence == 1:
            RequestEvent.objects.create(
                request=request, from_status=Request.Status.PENDING, to_status=request.status, actor="worker"
            )
    return Lease(request_id, request.fence), request


def lease_give_back(lease: Lease, *, seconds: float) -> None:
    """Let any worker claim the request again, but not before so many seconds have passed.

    This counts as progress: the number of claims without progress, which leads to quarantine, starts again at 0.
    """
    _owned_rows(lease).update(lease_until=None, next_at=Now() + timedelta(seconds=seconds), tries=0)


def _owned_rows(lease: Lease) -> QuerySet[Request]:
    return Request.objects.filter(id=lease.request_id, fence=lease.fence, status__in=Request.OPEN)


def _lease_end() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


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

    def renew(self) -> None:
        """Extend every kept lease once; mark those as lost that another worker owns or whose request has ended."""
        with self._lock:
            leases = list(self._leases.values())
        for lease in leases:
            # Past its deadline the sweeper must be able to end a request, whatever its worker is stuck in.
            if not _owned_rows(lease).filter(deadline_at__gt=Now()).update(lease_until=_lease_end()):
                lease.is_lost = True
                self.let_go(lease)

    def renew_forever(self) -> None:
        """Renew every kept lease three times within its span; the loop of the keeper's thread."""
        while True:
            time.sleep(settings.LEASE_SECONDS / 3)
            try:
                close_old_connections()
                self.renew()
            except DatabaseError as error:
                logger.warning("Leases could not be renewed: %s", type(error).__name__)
            finally:
                give_back_connection()


keeper = LeaseKeeper()
