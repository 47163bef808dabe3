"""A mail server on the loopback that takes everything, or refuses the recipient."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default


@dataclass
class FakeMailServer:
    """What arrived, and how the next recipient is answered."""

    port: int = 0
    messages: list[Message] = field(default_factory=list)
    answer_to_recipient: bytes = b"250 ok"


@contextmanager
def running_mail_server() -> Iterator[FakeMailServer]:
    """Run a server of SMTP (RFC 5321), without TLS."""
    state = FakeMailServer()

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say(b"220 mail.test ready")
            for line in self.rfile:
                verb = line[:4].upper()
                if verb == b"RCPT":
                    self._say(state.answer_to_recipient)
                elif verb == b"DATA":
                    self._say(b"354 go on")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    state.messages.append(message_from_bytes(b"".join(lines), policy=default))
                    self._say(b"250 taken")
                elif verb == b"QUIT":
                    self._say(b"221 bye")
                    return
                else:
                    self._say(b"250 ok")

        def _say(self, line: bytes) -> None:
            self.wfile.write(line + b"\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        state.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        server.shutdown()
