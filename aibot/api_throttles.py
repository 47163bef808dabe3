"""How often the API may be asked: named rates, counted in the database, which all processes share.

Not in a cache: without Redis there is none that two processes see, and with it the API would depend on Redis.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle, SimpleRateThrottle

from aibot.models import ApiToken, ApiUsage
from providers.db import Lazily

if TYPE_CHECKING:
    from rest_framework.views import APIView


class _DatabaseRate(SimpleRateThrottle):
    """Counts calls in windows of fixed length, each of which begins with the first call in it."""

    duration: int  # seconds
    num_requests: int
    seconds_left: float | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        key = str(self.get_cache_key(request, view))
        if self._count(key):
            return True
        if not ApiUsage.objects.filter(key=key).exists():
            ApiUsage.objects.bulk_create([ApiUsage(key=key)], ignore_conflicts=True)
            return self.allow_request(request, view)
        ends_at, now = ApiUsage.objects.annotate(now=Now()).values_list("ends_at", "now").get(key=key)
        self.seconds_left = max(1.0, (ends_at - now).total_seconds())
        return False

    def wait(self) -> float | None:
        return self.seconds_left

    def _count(self, key: str) -> int:
        """Count this call; return 1, or 0 where the window is full or there is none."""
        is_over = Q(ends_at__lte=Now())
        return ApiUsage.objects.filter(Lazily(), is_over | Q(calls__lt=self.num_requests), key=key).update(
            calls=Case(When(is_over, then=Value(1)), default=F("calls") + 1),
            ends_at=Case(When(is_over, then=Now() + timedelta(seconds=self.duration)), default=F("ends_at")),
        )


class NamedRate(ScopedRateThrottle, _DatabaseRate):
    """The rate that a view names as `throttle_scope`, for each token, or each user with a session."""

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        token = request.auth
        whose = f"token:{token.pk}" if isinstance(token, ApiToken) else f"user:{request.user.pk}"
        return f"{self.scope}:{whose}"
