"""Where results leave to: a class chosen by settings.DELIVERY_BACKEND, as Django chooses an e-mail backend.

requests_app never learns what a chat is. It hands over a request's id; the outlet knows where that came from.
"""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from providers.types import OnText

DELIVER_TASK = "requests_app.tasks.deliver"


class DeliveryBackend:
    """The interface of every outlet. This base shows nothing to anybody, which suits tests and the command line."""

    def on_partial(self, request_id: str) -> OnText | None:
        """Return a function that shows a growing answer, or None where nobody watches.

        Called once per claim, before the chain starts. The function is called from the worker's thread with the
        whole text so far, perhaps a hundred times a second: it must return at once and never raise.
        """
        return None

    def deliver(self, request_id: str) -> None:
        """Show how the request ended: its answer, or why there is none.

        Called after the end is committed, by the worker that ended it, and again by the sweeper until the outlet
        itself knows that it was shown. A worker that has lost a request calls it too, perhaps before the end: then
        it only ends what on_partial() has begun in this process. Repeating it must show nothing twice. It never raises
        for the outside world's faults; it remembers them and tries again when the sweeper calls.
        """


class MemoryDeliveryBackend(DeliveryBackend):
    """Keeps what it was given; the twin of the real one for tests."""

    def __init__(self) -> None:
        self.delivered: list[str] = []
        self.shown: dict[str, list[str]] = {}

    def on_partial(self, request_id: str) -> OnText:
        return self.shown.setdefault(request_id, []).append

    def deliver(self, request_id: str) -> None:
        self.delivered.append(request_id)


@cache
def get_delivery_backend() -> DeliveryBackend:
    """Return the process's one outlet."""
    return import_string(settings.DELIVERY_BACKEND)()
