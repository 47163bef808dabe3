"""Why a vendor refuses a request, and how it reports that: each has statuses, codes and texts of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

RETRY_AFTER_SECONDS = 10
RETRY_AFTER = {"Retry-After": str(RETRY_AFTER_SECONDS)}


class Problem(Enum):
    """What is wrong, whatever a vendor calls it."""

    NO_KEY = auto()
    WRONG_KEY = auto()
    NO_SUCH_PATH = auto()
    UNKNOWN_MODEL = auto()
    UNKNOWN_VOICE = auto()
    INVALID = auto()  # a field is missing or has a wrong value
    TOO_LONG = auto()
    UNSUPPORTED = auto()  # a field that this model does not take
    RATE_LIMITED = auto()
    DOWN = auto()
    NO_CREDIT = auto()
    REFUSED_CONTENT = auto()
    FAILED_INSIDE = auto()  # an error inside a 200


@dataclass(frozen=True, slots=True)
class ErrorText:
    """How one vendor reports one problem."""

    status: int
    code: str  # its own name of the problem
    message: str  # "{}" stands for the detail, such as the model or the field
    headers: Mapping[str, str] = field(default_factory=dict)


class VendorRefusal(Exception):
    """The vendor would refuse this request."""

    def __init__(self, problem: Problem, detail: str = "", param: str | None = None) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail
        self.param = param
