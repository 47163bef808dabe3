"""What vendors of texts share that make pictures, films and sounds too: paths, jobs, and the files these lead to."""

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from providers.sandbox.billing import Line
from providers.sandbox.fake_files import content_of, content_type_of
from providers.sandbox.fake_jobs import Clock, Job, Jobs
from providers.sandbox.faults import Fault
from providers.sandbox.vendor_base import Call, Problem, Refused, Reply, Stream, TextVendor, model_in, new_id
from providers.types import Category, Usage

FILE = re.compile(r"/files/([\w-]+)/([\w.-]+)")

Answered = tuple[Reply, Line | None]
Route = tuple[str, str, Callable[..., Answered]]  # method, pattern of the path, what answers
Model = TypeVar("Model")


@dataclass(slots=True, kw_only=True)
class Order(Job):
    """What somebody has ordered, be it a job or made at once."""

    is_job: bool
    prompt: str = field(repr=False)
    cost: Decimal | None  # once it is made; None where nobody can say
    sides: tuple[int, int] = (0, 0)  # of a picture


class WithMedia(TextVendor):
    """A vendor of texts that takes other orders too. It stands before the class that answers the chat."""

    kept: ClassVar[timedelta] = timedelta(hours=1)  # for so long its files are there

    def __init__(self, *, film_seconds: float, quick_seconds: float, clock: Clock) -> None:
        self.film_work = timedelta(seconds=film_seconds)
        self.quick_work = timedelta(seconds=quick_seconds)
        self.clock = clock
        self.orders: Jobs[Order] = Jobs()

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Return the paths beside the chat. Each is asked with the call, the fault and the pattern's groups."""

    def respond(self, call: Call, fault: Fault | None) -> tuple[Reply | Stream, Line | None]:
        file = FILE.fullmatch(call.path)
        if file and call.method == "GET":
            return self.file(call, *file.groups()), None
        for method, pattern, answer in self.routes():
            if method == call.method and (match := re.fullmatch(pattern, call.path)):
                try:
                    self.check_fault(call, fault)
                    self.check_key(call)
                    return answer(call, fault, *match.groups())
                except Refused as refusal:
                    return self.refuse(call, refusal), self.unbilled(call)
        return super().respond(call, fault)

    def unbilled(self, call: Call) -> Line | None:
        is_order = call.method == "POST" and any(
            method == "POST" and re.fullmatch(pattern, call.path) for method, pattern, _ in self.routes()
        )
        return self.free_line(model_in(call)) if is_order else super().unbilled(call)

    def pick(self, body: Mapping[str, Any], models: Mapping[str, Model]) -> tuple[str, Model]:
        """Return the model that an order names. Raises Refused."""
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise Refused(Problem.INVALID, "model: Field required", "model")
        if name not in models:
            raise Refused(Problem.UNKNOWN_MODEL, name, "model")
        return name, models[name]

    def take(
        self,
        model: str,
        category: Category,
        *,
        usage: Usage,
        cost: Decimal | None,
        prompt: str,
        file_names: Sequence[str],
        work: timedelta | None = None,
        error: str = "",
        sides: tuple[int, int] = (0, 0),
        wish: Mapping[str, Any] | None = None,
    ) -> Order:
        """Remember an order and return it. Without `work` it is made at once."""
        order = Order(
            id=new_id(""),
            model=model,
            category=category,
            input=wish or {},
            usage=usage,
            created_at=self.clock(),
            work=work or timedelta(0),
            file_names=tuple(file_names),
            error=error,
            kept=self.kept,
            is_job=work is not None,
            prompt=prompt,
            cost=cost,
            sides=sides,
        )
        self.orders.add(order)
        return order

    def known(self, order_id: str) -> Order:
        """Return an order. Raises Refused."""
        order = self.orders.get(order_id)
        if order is None:
            raise Refused(Problem.NO_SUCH_PATH, order_id)
        return order

    def line_of(self, order: Order) -> Line:
        """Return an order's line on the bill; a job is found there by its id."""
        return Line(
            provider=self.slug,
            model=order.model,
            usage=order.usage if order.is_billed else None,
            cost=order.cost if order.is_billed else Decimal(0),
            job_id=order.id if order.is_job else "",
        )

    def addresses(self, call: Call, order: Order) -> list[str]:
        """Return where the files of an order are."""
        return [f"{call.origin}/files/{order.id}/{name}" for name in order.file_names]

    def file(self, call: Call, order_id: str, name: str) -> Reply:
        """Return a file while it is there. File servers want no key."""
        order = self.orders.get(order_id)
        if order is None or name not in order.file_names or not order.has_files(self.clock()):
            return Reply(404, {"message": "Not found."})
        return Reply(200, content_of(name, order.prompt, *order.sides), content_type=content_type_of(name))


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
