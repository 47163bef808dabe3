"""The interface through which results leave this app, and its twin in memory. No delivery happens here.

settings.DELIVERY_BACKEND names the class, as Django chooses an e-mail backend. requests_app knows nothing of chats: it
hands over a request's id, and the backend knows where the request came from.
"""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from providers.types import OnText

DELIVER_TASK = "requests_app.tasks.deliver"


class DeliveryBackend:
    """The interface of every delivery backend. This base class shows nothing, which suits the command line."""

    def on_partial(self, request_id: str) -> OnText | None:
        """Return a function that shows a partial answer, or None where this backend shows none.

        Called once per claim, before the chain starts. The function is called from the worker's thread with the
        whole text so far, often while it is short, then some twenty times a second: it must return at once and never
        raise.
        """
        return None

    def bytes_shown(self, request_id: str) -> int | None:
        """Return how much of the answer the user has seen, None for nothing. What was seen of a request is charged.

        A lower bound, of the text in UTF-8, is enough. Called under a lock on the request's row. A backend that notes
        under the same lock, before it shows a part for the first time, that it does leaves no moment in which reading
        is free.
        """
        return None

    def deliver(self, request_id: str) -> None:
        """Show how the request ended: its answer, or why there is none.

        Called after the end is committed, by the worker that ended the request, and again by whichever worker finds
        that the backend has not recorded it as shown: at least once, so it must be idempotent. A worker that has lost
        a request calls it too, perhaps before the end: then it only stops the stream that on_partial() has opened in
        this process. Must not raise for network errors; it records them and tries again at the next call.
        """


class MemoryDeliveryBackend(DeliveryBackend):
    """Keeps in memory what it was given, for tests."""

    def __init__(self) -> None:
        self.delivered: list[str] = []
        self.shown: dict[str, list[str]] = {}

    def on_partial(self, request_id: str) -> OnText:
        return self.shown.setdefault(request_id, []).append

    def deliver(self, request_id: str) -> None:
        self.delivered.append(request_id)


@cache
def get_delivery_backend() -> DeliveryBackend:
    """Return this process's delivery backend; one instance serves all threads."""
    backend: DeliveryBackend = import_string(settings.DELIVERY_BACKEND)()
    return backend
