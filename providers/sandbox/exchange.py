"""One exchange with a vendor of the sandbox: the request, and a whole reply or a stream of events."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs

from providers.sandbox.error_texts import Problem, VendorRefusal
from providers.sandbox.fake_files import words_in
from providers.sandbox.faults import InjectedFault

PROMPT_FIELDS = ("prompt", "text", "input", "positivePrompt", "gpt_description_prompt")


@dataclass(frozen=True, slots=True)
class VendorRequest:
    """One request as it came, and what is to go wrong with it."""

    method: str
    path: str  # without the provider's name and the query
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(default=b"", repr=False)
    query: str = ""
    origin: str = ""  # the vendor's address in this sandbox
    fault: InjectedFault | None = None

    @property
    def bearer_token(self) -> str:
        """The token of the Authorization header, or nothing."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def parameter(self, name: str, default: str = "") -> str:
        """Return a parameter of the query."""
        return parse_qs(self.query).get(name, [default])[0]

    def json_object(self) -> dict[str, Any]:
        """Return the body. Raises VendorRefusal where it is no JSON object."""
        try:
            body = json.loads(self.body)
        except ValueError as error:
            raise VendorRefusal(Problem.INVALID, "We could not parse the JSON body of your request.") from error
        if not isinstance(body, dict):
            raise VendorRefusal(Problem.INVALID, "The body must be a JSON object.")
        return body

    def form(self) -> dict[str, bytes]:
        """Return the fields of a form, files among them. Raises VendorRefusal where the body is none."""
        head = f"Content-Type: {self.headers.get('content-type', '')}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + self.body)
        if not message.is_multipart():
            raise VendorRefusal(Problem.INVALID, "The body must be multipart/form-data.")
        fields = {}
        for part in message.iter_parts():
            content = part.get_payload(decode=True)
            fields[str(part.get_param("name", header="content-disposition"))] = (
                content if isinstance(content, bytes) else b""
            )
        return fields

    @property
    def readable(self) -> Mapping[str, Any]:
        """What can be read of the body, or of the first item of a list; empty where it is anything else."""
        try:
            body = json.loads(self.body)
        except ValueError:
            return {}
        first = body[0] if isinstance(body, list) and body else body
        return first if isinstance(first, dict) else {}

    @property
    def prompt(self) -> str:
        """The prompt that the body carries, valid or not: the latest message of a chat, or what is to be generated.

        Of a file that is to be heard it is "heard: " and its words.
        """
        if self.headers.get("content-type", "").startswith("multipart/form-data"):
            return f"heard: {words_in(self.form().get('file', b''))}"
        body = self.readable
        holder = body["input"] if isinstance(body.get("input"), dict) else body
        messages = holder.get("messages")
        latest = messages[-1] if isinstance(messages, list) and messages else {}
        content = latest.get("content") if isinstance(latest, dict) else ""
        if isinstance(content, list):
            content = " ".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
        return str(content or next((holder[name] for name in PROMPT_FIELDS if holder.get(name)), ""))


@dataclass(frozen=True, slots=True)
class VendorReply:
    """A whole reply."""

    status: int
    body: Any = field(repr=False)  # what becomes JSON, or the bytes of a file
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay_seconds: float = 0.0  # for which the vendor holds the request before it replies
    is_cut: bool = False  # half of the body, then the connection is closed

    def cut(self) -> "VendorReply":
        return replace(self, is_cut=True)


@dataclass(frozen=True, slots=True)
class EventStream:
    """Server-sent events, to be sent one after the other."""

    events: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)

    def cut(self) -> "EventStream":
        return replace(self, events=self.events[: max(1, len(self.events) // 2)])


def new_id(prefix: str = "") -> str:
    return f"{prefix}{uuid.uuid4().hex[:24]}"
