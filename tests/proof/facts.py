"""What the checker judges: plain values of what the database, the vendors' bill and the chats hold at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UpdateFact:
    """One update as our database keeps it."""

    update_id: int
    chat_id: int | None
    outcome: str  # empty: not handled yet
    idle_seconds: float = 0.0  # since when it could have been handled


@dataclass(frozen=True, slots=True)
class AccountFact:
    """One user's credits."""

    id: int
    balance: int


@dataclass(frozen=True, slots=True)
class EntryFact:
    """One line of the ledger."""

    account_id: int
    request_id: str  # empty: it belongs to none
    kind: str
    amount: int


@dataclass(frozen=True, slots=True)
class EventFact:
    """One move of a request's status."""

    from_status: str  # empty: it began with this
    to_status: str


@dataclass(frozen=True, slots=True)
class RequestFact:
    """One request."""

    id: str
    account_id: int
    intake_key: str
    words: str  # its prompt
    status: str
    credits: int
    provider: str = ""  # who answered
    has_output: bool = False
    missing_files: tuple[str, ...] = ()  # outputs that its row names and the storage does not hold
    events: tuple[EventFact, ...] = ()  # oldest first
    idle_seconds: float = 0.0  # since when a worker could have taken it
    looks: Mapping[int, str] = field(default_factory=dict)  # by part, what its finished messages show


@dataclass(frozen=True, slots=True)
class AttemptFact:
    """One outgoing call as our database keeps it."""

    request_id: str
    number: int
    provider: str
    state: str
    job_id: str = ""
    was_unknown: bool = False  # its outcome was on record as unknown, then or now
    is_finished: bool = True


@dataclass(frozen=True, slots=True)
class DeliveryFact:
    """One message that a request should show."""

    request_id: str
    part: int
    state: str
    chat_id: int
    message_id: int | None
    idle_seconds: float = 0.0  # since when it could have been shown


@dataclass(frozen=True, slots=True)
class BillFact:
    """One call as the vendor wrote it down."""

    provider: str
    words: str  # the prompt that it carried
    is_billed: bool
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class MessageFact:
    """One message that stands in a chat."""

    chat_id: int
    message_id: int
    look: str  # its text, or what its file is


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything at one moment, after the faults have ended and the work has run dry."""

    acknowledged: frozenset[int] = frozenset()  # updates that were answered with a 200
    updates: tuple[UpdateFact, ...] = ()
    accounts: tuple[AccountFact, ...] = ()
    ledger: tuple[EntryFact, ...] = ()  # oldest first
    requests: tuple[RequestFact, ...] = ()
    attempts: tuple[AttemptFact, ...] = ()
    deliveries: tuple[DeliveryFact, ...] = ()
    unreachable_chats: frozenset[int] = frozenset()
    bill: tuple[BillFact, ...] = ()
    messages: tuple[MessageFact, ...] = ()
    placeholder: str = "⏳"
    patience_seconds: float = 0.0  # a lease and two sweeps: the longest that anything may lie about
    excused_placeholders: int = 0  # that may have been left: sends cut short by a death or by the Bot API
