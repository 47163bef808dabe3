"""How long the broker's queues become, beside the work that is pending: a backlog must not grow by itself."""

from pathlib import Path

import redis
from django.conf import settings

from requests_app.dispatch import QUEUES
from requests_app.models import Request
from telegram_bot.models import Delivery, TelegramUpdate

MAX_MESSAGES_PER_ROW = 2  # by the design, at any time
SLACK = 60  # wake-ups of what was done a moment ago; a worker without a message looks by itself


class QueueWatch:
    """The longest queue and the worst excess over the pending work, over all samples."""

    def __init__(self) -> None:
        self.longest = 0
        self.worst = ""  # the sample with the most messages too many; empty: there was none
        self._most_too_many = 0

    def sample(self) -> None:
        """Compare the queues with the rows. A broker that does not answer is not looked at. Raises DatabaseError."""
        try:
            waiting = self._waiting()
        except redis.RedisError:
            return
        self.longest = max(self.longest, waiting)
        if waiting > SLACK:
            pending = _pending()
            too_many = waiting - MAX_MESSAGES_PER_ROW * pending - SLACK
            if too_many > self._most_too_many:
                self._most_too_many = too_many
                self.worst = f"{waiting} messages beside {pending} pending rows"

    def _waiting(self) -> int:
        if not settings.REDIS_URL:
            return sum(1 for path in Path(settings.QUEUE_DIR).rglob("*") if path.is_file())
        client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1)
        return sum(client.llen(queue) for queue in QUEUES)


def _pending() -> int:
    updates = TelegramUpdate.objects.filter(handled_at=None)
    deliveries = Delivery.objects.filter(state__in=Delivery.UNFINISHED)
    open_requests = Request.objects.filter(status__in=Request.OPEN)
    return updates.count() + open_requests.count() + deliveries.count()
