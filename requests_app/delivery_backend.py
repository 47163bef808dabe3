"""The interface through which results leave this app, and its twin in memory. No delivery happens here.

settings.DELIVERY_BACKEND names the class, as Django chooses an e-mail backend. requests_app knows nothing of chats: it
hands over a request's id, and the backend knows where the request came from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from providers.types import OnText

DELIVER_TASK = "requests_app.tasks.deliver"


@dataclass(frozen=True, slots=True)
class DeliveryPart:
    """One message that shows a request, or is to show it."""

    request_id: str
    part: int  # 0 is the first; below 0 is a notice beside the answer
    at: datetime  # when it was shown, else when it was written
    what: str  # in words, such as "the answer, part 2"
    outcome: str  # in words, such as "shown"
    where: str  # in words, such as "chat 42"
    note: str = ""  # what was in the way
    version: int = 0  # grows with everything that is done about it


@dataclass(frozen=True, slots=True)
class UserRecord:
    """What a delivery backend has on record of an account's user, or of a place where they write."""

    what: str  # in words, such as "Telegram user"
    name: str  # as an operator reads it
    url: str  # of its page in the admin


def version_of(parts: Iterable[DeliveryPart]) -> str:
    """Return what tells one state of a request's delivery from every other, for resend(); "" where there is none."""
    return ",".join(f"{part.part}:{part.version}" for part in sorted(parts, key=lambda part: part.part))


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

    def history(self, request_ids: Sequence[str]) -> Sequence[DeliveryPart]:
        """Return what became of the messages of these requests. Changes nothing, and asks no network."""
        return ()

    def adopt(self, request_id: str, *, from_request_id: str) -> None:
        """Have a request shown where an earlier one came from: it asks the same anew.

        Called in the transaction that accepts it, once. Without a place there is nothing to do.
        """

    def resend(self, request_id: str, *, seen: str) -> bool:
        """Have deliver() show an answer again: the parts that are not confirmed as shown, or all where all are.

        `seen` is the version_of() what an operator has decided on. Returns False, with nothing changed, where it is
        another by now, so that a second click shows nothing again, and where a part is still under way. Called in a
        transaction, with an answered request.
        """
        return False

    def user_records(self, account_id: int) -> Sequence[UserRecord]:
        """Return what is on record of an account's user. Changes nothing, and asks no network."""
        return ()

    def erase_messages(self, account_id: int) -> int:
        """Erase what an account's user wrote and is kept here; return how many rows. Idempotent.

        What waits to be handled ends with it. Called outside of transactions, before the requests are erased.
        """
        return 0

    def erase_names(self, account_id: int) -> int:
        """Erase what an account's user is called; return how many rows. Idempotent.

        Called last, outside of transactions. The user's id stays: by it they have their balance again.
        """
        return 0


class MemoryDeliveryBackend(DeliveryBackend):
    """Keeps in memory what it was given, for tests."""

    def __init__(self) -> None:
        self.delivered: list[str] = []
        self.shown: dict[str, list[str]] = {}
        self.adopted: list[tuple[str, str]] = []  # a request, and the one in whose place it is shown

    def on_partial(self, request_id: str) -> OnText:
        return self.shown.setdefault(request_id, []).append

    def deliver(self, request_id: str) -> None:
        self.delivered.append(request_id)

    def adopt(self, request_id: str, *, from_request_id: str) -> None:
        self.adopted.append((request_id, from_request_id))


@cache
def get_delivery_backend() -> DeliveryBackend:
    """Return this process's delivery backend; one instance serves all threads."""
    backend: DeliveryBackend = import_string(settings.DELIVERY_BACKEND)()
    return backend
