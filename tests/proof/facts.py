"""What the checker looks at: plain values of the database, the providers' bill and the chats at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class UpdateFact:
    """One update as our database keeps it."""

    update_id: int
    chat_id: int | None
    outcome: str  # empty: not handled yet
    idle_seconds: float = 0.0  # since when it could have been handled
    row_id: int = 0  # its key, by which requests name it; 0: the same as update_id
    command: str = ""  # such as "/cancel"; empty: it is none
    target: str = ""  # what the command acts on: the id of a request, the number of a conversation

    @property
    def intake_key(self) -> str:
        return f"telegram:{self.row_id or self.update_id}"


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
    """One transition of a request's status."""

    from_status: str  # empty: the first status
    to_status: str
    is_by_user: bool = False


@dataclass(frozen=True, slots=True)
class RequestFact:
    """One request."""

    id: str
    account_id: int
    intake_key: str
    prompt: str
    status: str
    credits: int
    provider: str = ""  # who answered
    model: str = ""  # the AI model
    cost: Decimal | None = None  # USD of the call that answered; None is unknown
    has_output: bool = False
    answered_prompt: str = ""  # the beginning of the prompt that its answer quotes; empty: it quotes none
    missing_files: tuple[str, ...] = ()  # outputs that its row names and the storage does not hold
    events: tuple[EventFact, ...] = ()  # oldest first
    idle_seconds: float = 0.0  # since when a worker could have claimed it
    expected_messages: Mapping[int, str] = field(default_factory=dict)  # the content of each, by part, once it ended


@dataclass(frozen=True, slots=True)
class AttemptFact:
    """One outgoing call as our database keeps it."""

    request_id: str
    number: int
    provider: str
    state: str
    job_id: str = ""
    was_unknown: bool = False  # its outcome was recorded as perhaps billed, then or now
    cost: Decimal | None = None  # USD; None is unknown
    is_finished: bool = True
    is_transcript: bool = False  # it turned the prompt into text, and was not asked for the answer


@dataclass(frozen=True, slots=True)
class DeliveryFact:
    """One message that a request should show."""

    request_id: str
    part: int
    state: str
    chat_id: int
    message_id: int | None
    idle_seconds: float = 0.0  # since when it could have been shown
    is_read: bool = False  # a part of the answer was shown before the request's end


@dataclass(frozen=True, slots=True)
class BillFact:
    """One call as the provider recorded it."""

    provider: str
    prompt: str
    is_billed: bool
    job_id: str = ""
    cost: Decimal | None = None  # USD; None: the provider has no known price


@dataclass(frozen=True, slots=True)
class MessageFact:
    """One message in a chat."""

    chat_id: int
    message_id: int
    content: str  # its text, or the hash of its file


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything at one moment, after the faults have ended and all work is done."""

    acknowledged: frozenset[int] = frozenset()  # updates that were answered with a 200
    updates: tuple[UpdateFact, ...] = ()
    accounts: tuple[AccountFact, ...] = ()
    ledger: tuple[EntryFact, ...] = ()  # oldest first
    requests: tuple[RequestFact, ...] = ()
    attempts: tuple[AttemptFact, ...] = ()
    deliveries: tuple[DeliveryFact, ...] = ()
    unreachable_chats: frozenset[int] = frozenset()
    conversations: Mapping[int, int] = field(default_factory=dict)  # begun by /new, by chat
    bill: tuple[BillFact, ...] = ()
    messages: tuple[MessageFact, ...] = ()
    credit_price: Decimal = Decimal(0)  # USD; 0: nothing is sold
    placeholder: str = "⏳"
    max_idle_seconds: float = 0.0  # a lease and two sweeps: the longest that anything may wait for a worker
    excused_placeholders: int = 0  # that may have been left: sends cut short by a crash or by the Bot API
    uploads: int = 0  # of files, by the bot
    confirmed_uploads: Mapping[str, int] = field(default_factory=dict)  # those with an answer, by the file's content
    excused_uploads: int = 0  # confirmed ones of which a crashed process may not have learned
