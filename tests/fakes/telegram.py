"""A Bot API server on the loopback that refuses what the real one refuses and records what its chats show."""

import json
import re
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "4242:a-token-for-tests"
BOT = {"id": 4242, "is_bot": True, "first_name": "Test", "username": "test_bot"}
MAX_UNITS = 4096
JSON_FIELDS = {
    "entities",
    "reply_markup",
    "reply_parameters",
    "link_preview_options",
    "allowed_updates",
    "commands",
    "drop_pending_updates",
    "chat_id",
    "message_id",
    "message_thread_id",
    "offset",
    "timeout",
    "media",
}
IMAGE_TYPES = (b"\x89PNG", b"\xff\xd8", b"RIFF")


class ApiError(Exception):
    """The server refuses a call."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


@dataclass
class ChatMessage:
    """A message of the bot as its chat shows it now."""

    id: int
    text: str
    entities: list[dict[str, Any]]
    buttons: list[dict[str, Any]] = field(default_factory=list)
    reply_to: int | None = None
    thread_id: int | None = None
    versions: list[str] = field(default_factory=list)  # everything it has shown, oldest first
    kind: str = "text"  # or "photo", "video", "audio", "document"
    file: bytes = field(default=b"", repr=False)


@dataclass
class Chat:
    """What one chat shows."""

    id: int
    messages: list[ChatMessage] = field(default_factory=list)
    is_blocked: bool = False

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]


@dataclass(frozen=True)
class BotApiCall:
    """One call as it arrived."""

    method: str
    parameters: dict[str, Any]
    at: float  # time.monotonic()


@dataclass(frozen=True)
class ChatChange:
    """One change of a chat, whether or not its caller got an answer."""

    at: float  # time.time()
    method: str
    chat_id: int
    message_id: int
    text: str


# What happens to a call before or instead of its execution. Returns True where no answer is to be sent.
BotApiFault = Callable[["FakeTelegram", BotApiCall], bool]


class FakeTelegram:
    """The server. `chat(42)` creates a chat; `will()` scripts faults, one for each call of a method."""

    def __init__(self) -> None:
        self.calls: list[BotApiCall] = []
        self.changes: list[ChatChange] = []
        self.webhook: dict[str, Any] = {}
        self.webhook_faults: dict[str, Any] = {}  # what getWebhookInfo says of the calls so far
        self.commands: dict[str, list[dict[str, str]]] = {}
        self.descriptions: dict[str, str] = {}
        self.answered_buttons: dict[str, str] = {}
        self.files: dict[str, bytes] = {}  # what users sent, by file_id
        self.sent_files: dict[str, bytes] = {}  # what the bot sent, by file_id
        self.uploads: list[bytes] = []  # each file that the bot uploaded, as often as it did
        self.confirmed_uploads: list[bytes] = []  # those of calls whose result was sent back
        self.inject_fault: Callable[[str], BotApiFault | None] = no_fault  # for calls without a scripted one
        self.upload_bytes_per_second = 0.0  # of one connection, for files; 0: as fast as they come
        self.confirmed = 0  # updates below this id were confirmed by a poll
        self._chats: dict[int, Chat] = {}
        self._faults: dict[str, deque[BotApiFault]] = defaultdict(deque)
        self._updates: list[dict[str, Any]] = []
        self._lock = threading.Condition()
        self._numbers = iter(range(1000, 10**9))
        self.is_over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler_for(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def wrap_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    def close(self) -> None:
        self.is_over.set()
        with self._lock:
            self._lock.notify_all()
        self._server.shutdown()
        self._server.server_close()

    # --- For the tests ---

    def chat(self, chat_id: int) -> Chat:
        """Return a chat, which exists on the server from then on."""
        return self._chats.setdefault(chat_id, Chat(chat_id))

    def all_chats(self) -> list[Chat]:
        """Return a copy of every chat as it is now, oldest first."""
        with self._lock:
            return [replace(chat, messages=list(chat.messages)) for chat in self._chats.values()]

    def forget_chats(self) -> None:
        """Delete every chat with its messages."""
        self._chats.clear()

    def will(self, method: str, *faults: BotApiFault) -> None:
        """Inject these faults into the next calls of this method, in order."""
        self._faults[method].extend(faults)

    def called(self, method: str) -> list[BotApiCall]:
        return [call for call in self.calls if call.method == method]

    def push(self, *updates: dict[str, Any]) -> None:
        """Queue updates for a poll."""
        with self._lock:
            self._updates.extend(updates)
            self._lock.notify_all()

    def wait_for(self, condition: Callable[[], Any], seconds: float = 10) -> Any:
        """Wait until the condition is true; it is checked after each call."""
        with self._lock:
            assert self._lock.wait_for(condition, seconds), "the condition did not become true"
        return condition()

    # --- For the handler ---

    def receive(self, call: BotApiCall) -> Any:
        """Record a call, inject its fault, execute it and return the result; None: no answer is to be sent."""
        scripted = self._faults[call.method]
        with self._lock:
            self.calls.append(call)
            fault = scripted.popleft() if scripted else self.inject_fault(call.method)
            self._lock.notify_all()
        if fault and fault(self, call):
            return None
        return self.execute(call.method, call.parameters)

    def execute(self, method: str, parameters: dict[str, Any]) -> Any:
        handler = getattr(self, "_" + re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", method), None)
        if handler is None:
            raise ApiError(404, "Not Found")
        with self._lock:
            try:
                result = handler(parameters)
                if "chat_id" in parameters:
                    made = result["message_id"] if isinstance(result, dict) else parameters.get("message_id", 0)
                    text = parameters.get("text", "")
                    self.changes.append(ChatChange(time.time(), method, parameters["chat_id"], made, text))
                return result
            finally:
                self._lock.notify_all()

    def _get_me(self, _: dict[str, Any]) -> Any:
        return BOT

    def _send_message(self, parameters: dict[str, Any]) -> Any:
        chat = self._chat_of(parameters)
        reply = parameters.get("reply_parameters", {})
        message = ChatMessage(
            id=next(self._numbers),
            text=_checked_text(parameters),
            entities=parameters.get("entities", []),
            buttons=_checked_buttons(parameters),
            reply_to=reply.get("message_id"),
            thread_id=parameters.get("message_thread_id"),
        )
        message.versions.append(message.text)
        chat.messages.append(message)
        return _as_json(chat, message)

    def _edit_message_text(self, parameters: dict[str, Any]) -> Any:
        chat = self._chat_of(parameters)
        message = next((message for message in chat.messages if message.id == parameters.get("message_id")), None)
        if message is None:
            raise ApiError(400, "Bad Request: message to edit not found")
        text, entities, buttons = (
            _checked_text(parameters),
            parameters.get("entities", []),
            _checked_buttons(parameters),
        )
        if (text, entities, buttons) == (message.text, message.entities, message.buttons):
            raise ApiError(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the "
                "same as a current content and reply markup of the message",
            )
        message.text, message.entities, message.buttons = text, entities, buttons
        message.versions.append(text)
        return _as_json(chat, message)

    def _edit_message_media(self, parameters: dict[str, Any]) -> Any:
        chat = self._chat_of(parameters)
        message = next((message for message in chat.messages if message.id == parameters.get("message_id")), None)
        if message is None:
            raise ApiError(400, "Bad Request: message to edit not found")
        media = parameters["media"]
        content = self._content_of(media["type"], media["media"], parameters)
        message.kind, message.file = _checked_file(media["type"], content)
        message.text, message.entities, message.buttons = "", [], []
        message.versions.append(f"[{message.kind}]")
        return self._file_as_json(chat, message)

    def _send_photo(self, parameters: dict[str, Any]) -> Any:
        return self._send_file("photo", parameters)

    def _send_video(self, parameters: dict[str, Any]) -> Any:
        return self._send_file("video", parameters)

    def _send_audio(self, parameters: dict[str, Any]) -> Any:
        return self._send_file("audio", parameters)

    def _send_document(self, parameters: dict[str, Any]) -> Any:
        return self._send_file("document", parameters)

    def _send_file(self, kind: str, parameters: dict[str, Any]) -> Any:
        chat = self._chat_of(parameters)
        source = parameters.get(kind, f"attach://{kind}")
        kind, content = _checked_file(kind, self._content_of(kind, source, parameters))
        message = ChatMessage(id=next(self._numbers), text="", entities=[], kind=kind, file=content)
        message.versions.append(f"[{kind}]")
        chat.messages.append(message)
        return self._file_as_json(chat, message)

    def _content_of(self, kind: str, source: str, parameters: dict[str, Any]) -> bytes:
        """Return the bytes of an upload, or of the file of this id, which can be sent again as the same kind only."""
        if source.startswith("attach://"):
            content: bytes = parameters["files"][source.removeprefix("attach://")]
            self.uploads.append(content)
            return content
        if source.partition("-")[0] != kind or source not in self.sent_files:
            raise ApiError(400, "Bad Request: wrong file identifier/HTTP URL specified")
        return self.sent_files[source]

    def _file_as_json(self, chat: Chat, message: ChatMessage) -> dict[str, Any]:
        file_id = f"{message.kind}-{message.id}"
        self.sent_files[file_id] = message.file
        file = {"file_id": file_id, "file_unique_id": file_id, "file_size": len(message.file)}
        if message.kind != "photo":
            return {**_as_json(chat, message), message.kind: file}
        # The largest size of a photo comes last.
        small = {"file_id": f"{file_id}-small", "file_unique_id": "small", "width": 90, "height": 90}
        return {**_as_json(chat, message), "photo": [small, {**file, "width": 800, "height": 800}]}

    def _get_file(self, parameters: dict[str, Any]) -> Any:
        if parameters["file_id"] not in self.files:
            raise ApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        file_id = parameters["file_id"]
        return {"file_id": file_id, "file_unique_id": file_id, "file_path": f"photos/{file_id}"}

    def _delete_message(self, parameters: dict[str, Any]) -> Any:
        chat = self._chat_of(parameters)
        chat.messages[:] = [message for message in chat.messages if message.id != parameters.get("message_id")]
        return True

    def _answer_callback_query(self, parameters: dict[str, Any]) -> Any:
        self.answered_buttons[parameters["callback_query_id"]] = parameters.get("text", "")
        return True

    def _send_chat_action(self, parameters: dict[str, Any]) -> Any:
        self._chat_of(parameters)
        return True

    def _get_updates(self, parameters: dict[str, Any]) -> Any:
        if self.webhook:
            raise ApiError(409, "Conflict: can't use getUpdates method while webhook is active")
        self.confirmed = max(self.confirmed, parameters.get("offset", 0))
        self._updates = [update for update in self._updates if update["update_id"] >= self.confirmed]
        deadline = time.monotonic() + float(parameters.get("timeout", 0))
        while not self._updates and not self.is_over.is_set() and time.monotonic() < deadline:
            self._lock.wait(deadline - time.monotonic())
        return list(self._updates)

    def _get_webhook_info(self, _: dict[str, Any]) -> Any:
        known = {"url": self.webhook.get("url", ""), "allowed_updates": self.webhook.get("allowed_updates", [])}
        return {"has_custom_certificate": False, "pending_update_count": 0, **known, **self.webhook_faults}

    def _set_webhook(self, parameters: dict[str, Any]) -> Any:
        if urlsplit(parameters["url"]).scheme != "https":
            raise ApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        self.webhook = parameters
        return True

    def _delete_webhook(self, parameters: dict[str, Any]) -> Any:
        assert not parameters.get("drop_pending_updates"), "a payment may wait among the updates"
        self.webhook = {}
        return True

    def _set_my_commands(self, parameters: dict[str, Any]) -> Any:
        for command in parameters["commands"]:
            if not (1 <= len(command["command"]) <= 32 and 1 <= len(command["description"]) <= 256):
                raise ApiError(400, "Bad Request: BOT_COMMAND_INVALID")
        self.commands[parameters.get("language_code", "")] = parameters["commands"]
        return True

    def _set_my_description(self, parameters: dict[str, Any]) -> Any:
        assert len(parameters["description"]) <= 512
        self.descriptions["long"] = parameters["description"]
        return True

    def _set_my_short_description(self, parameters: dict[str, Any]) -> Any:
        assert len(parameters["short_description"]) <= 120
        self.descriptions["short"] = parameters["short_description"]
        return True

    def _chat_of(self, parameters: dict[str, Any]) -> Chat:
        chat = self._chats.get(parameters.get("chat_id", 0))
        if chat is None:
            raise ApiError(400, "Bad Request: chat not found")
        if chat.is_blocked:
            raise ApiError(403, "Forbidden: bot was blocked by the user")
        return chat


# --- Faults ---


def no_fault(method: str) -> None:
    """Let every call pass."""


def flood(retry_after: int) -> BotApiFault:
    """Answer 429 with a pause."""
    return refuse(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)


def refuse(code: int, description: str, **parameters: int) -> BotApiFault:
    """Refuse the call."""

    def fault(server: FakeTelegram, call: BotApiCall) -> bool:
        raise ApiError(code, description, **parameters)

    return fault


def no_answer(server: FakeTelegram, call: BotApiCall) -> bool:
    """Execute the call and never answer."""
    server.execute(call.method, call.parameters)
    server.is_over.wait()
    return True


def not_reached(server: FakeTelegram, call: BotApiCall) -> bool:
    """Neither execute the call nor answer."""
    server.is_over.wait()
    return True


def hang_up(server: FakeTelegram, call: BotApiCall) -> bool:
    """Close the connection without executing the call."""
    return True


def hang_up_after(server: FakeTelegram, call: BotApiCall) -> bool:
    """Execute the call and close the connection without an answer."""
    server.execute(call.method, call.parameters)
    return True


def mute(seconds: float) -> BotApiFault:
    """Execute the call at once, keep silent for so long and close the connection."""

    def fault(server: FakeTelegram, call: BotApiCall) -> bool:
        server.execute(call.method, call.parameters)
        server.is_over.wait(seconds)
        return True

    return fault


def deaf(seconds: float) -> BotApiFault:
    """Keep silent for so long and close the connection, without executing the call."""

    def fault(server: FakeTelegram, call: BotApiCall) -> bool:
        server.is_over.wait(seconds)
        return True

    return fault


def late(seconds: float) -> BotApiFault:
    """Execute the call so much later, whether or not its caller still waits."""

    def fault(server: FakeTelegram, call: BotApiCall) -> bool:
        server.is_over.wait(seconds)
        return False

    return fault


class Hold:
    """Keeps one call waiting until `go()`; `arrived` is set once the call is here."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._may_go = threading.Event()

    def go(self) -> None:
        self._may_go.set()

    def __call__(self, server: FakeTelegram, call: BotApiCall) -> bool:
        self.arrived.set()
        self._may_go.wait(20)
        return False


def answers(result: Any) -> BotApiFault:
    """Execute the call and answer with this instead of the real server's answer."""

    def fault(server: FakeTelegram, call: BotApiCall) -> bool:
        server.execute(call.method, call.parameters)
        raise _OtherAnswer(result)

    return fault


class _OtherAnswer(Exception):
    pass


# --- What the real server checks ---


def units_of(text: str) -> int:
    """Return a text's length in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def _checked_text(parameters: dict[str, Any]) -> str:
    text = parameters.get("text", "")
    if not text.strip():
        raise ApiError(400, "Bad Request: message text is empty")
    if units_of(text) > MAX_UNITS:
        raise ApiError(400, "Bad Request: message is too long")
    encoded = text.encode("utf-16-le")
    for entity in parameters.get("entities", []):
        start, end = entity["offset"], entity["offset"] + entity["length"]
        if entity["offset"] < 0 or entity["length"] <= 0 or 2 * end > len(encoded):
            raise ApiError(400, "Bad Request: can't parse entities: an entity lies outside of the text")
        try:
            encoded[2 * start : 2 * end].decode("utf-16-le")
        except UnicodeDecodeError as error:
            raise ApiError(400, "Bad Request: entity beginning in the middle of a UTF-16 symbol") from error
    return text


def _checked_file(kind: str, content: bytes) -> tuple[str, bytes]:
    if kind == "photo" and not content.startswith(IMAGE_TYPES):
        raise ApiError(400, "Bad Request: IMAGE_PROCESS_FAILED")
    if not content:
        raise ApiError(400, "Bad Request: file must be non-empty")
    return kind, content


def _checked_buttons(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    rows = parameters.get("reply_markup", {}).get("inline_keyboard", [])
    buttons = [button for row in rows for button in row]
    for button in buttons:
        if not 1 <= len(button["callback_data"].encode()) <= 64:
            raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
    return buttons


def _as_json(chat: Chat, message: ChatMessage) -> dict[str, Any]:
    kind = "private" if chat.id > 0 else "supergroup"
    return {
        "message_id": message.id,
        "date": int(time.time()),
        "chat": {"id": chat.id, "type": kind},
        "from": BOT,
        "text": message.text,
    }


# --- HTTP ---


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: clients that hang up are part of the tests."""


def _handler_for(fake: FakeTelegram) -> type[BaseHTTPRequestHandler]:
    class BotApiHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self._read_body(length)
            if len(body) < length:
                self.close_connection = True
                return
            _, token, method = urlsplit(self.path).path.split("/", 2)
            try:
                if token != f"bot{TOKEN}":
                    raise ApiError(401, "Unauthorized")
                parameters = _parameters(body, self.headers.get("Content-Type", ""))
                result = fake.receive(BotApiCall(method, parameters, time.monotonic()))
            except ApiError as error:
                answer: dict[str, Any] = {"ok": False, "error_code": error.code, "description": error.description}
                if error.parameters:
                    answer["parameters"] = error.parameters
                self._answer(error.code, answer)
            except _OtherAnswer as other:
                self._answer(200, other.args[0])
            else:
                if result is not None:
                    self._answer(200, {"ok": True, "result": result})
                    fake.confirmed_uploads += parameters.get("files", {}).values()
                else:
                    self.close_connection = True

        def _read_body(self, length: int) -> bytes:
            rate = fake.upload_bytes_per_second
            if not rate or not self.headers.get("Content-Type", "").startswith("multipart/"):
                return self.rfile.read(length)
            body = b""
            while len(body) < length and not fake.is_over.wait(0.1):
                piece = self.rfile.read(min(max(1, int(rate * 0.1)), length - len(body)))
                if not piece:
                    break
                body += piece
            return body

        def do_GET(self) -> None:
            _, place, token, path = unquote(urlsplit(self.path).path).split("/", 3)
            content = fake.files.get(path.removeprefix("photos/"))
            if (place, token) != ("file", f"bot{TOKEN}") or content is None:
                self._answer(404, {"ok": False, "error_code": 404, "description": "Not Found"})
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _answer(self, code: int, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Log nothing: the tests read the calls."""

    return BotApiHandler


def _parameters(body: bytes, content_type: str) -> dict[str, Any]:
    if content_type == "application/json":
        parameters: dict[str, Any] = json.loads(body)
        return parameters
    if content_type.startswith("multipart/form-data"):
        return _parts(body, content_type)
    fields = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
    return {name: _value(name, value) for name, value in fields.items()}


def _parts(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields of a multipart form; its files are in `files`, by the name of their field."""
    boundary = b"--" + content_type.partition("boundary=")[2].encode()
    parameters: dict[str, Any] = {"files": {}}
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        (name,) = re.findall(r'[; ]name="([^"]*)"', head.decode())
        if b"filename=" in head:
            parameters["files"][name] = content
        else:
            parameters[name] = _value(name, content.decode())
    return parameters


def _value(name: str, value: str) -> Any:
    return json.loads(value) if name in JSON_FIELDS else value
