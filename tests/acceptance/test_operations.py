"""docs/operations.md, block by block on a machine of its own: installed, upgraded, restored, and killed on the way."""

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import urllib3

from providers.sandbox import Sandbox, running_sandbox
from tests.acceptance.machine import Machine, machine
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.flows.processes import wait_until
from tests.telegram_bot.updates import USER, message

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parent.parent.parent
DOMAIN = "aibot.test"
BLOCK = re.compile(r"^## (.+?)$|^```sh(?: \w+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = (80, 443, 5432, 6379, 8000)
SECONDS = 60
LAST_WORDS = "real answers."  # of an answer of the sandbox
BACK_AGAIN_SECONDS = 10  # after a kill -9
CHATS = range(201, 211)
MAKE_TOKEN = (
    "from django.contrib.auth.models import User; from rest_framework.authtoken.models import Token; "
    'print(Token.objects.create(user=User.objects.create_superuser("slow")).key)'
)


def blocks() -> dict[str, list[str]]:
    """Return the blocks of each chapter."""
    chapters: dict[str, list[str]] = {}
    for title, block in BLOCK.findall((ROOT / "docs" / "operations.md").read_text(encoding="utf-8")):
        if title:
            chapters[title] = []
        else:
            chapters[list(chapters)[-1]].append(block)
    return chapters


def shell(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


class World:
    """Telegram, a provider, and the certificate of the name. The service is called where it has registered."""

    def __init__(self, folder: Path, telegram: FakeTelegram, sandbox: Sandbox) -> None:
        self.folder, self.telegram, self.sandbox = folder, telegram, sandbox
        self._numbers = iter(range(1, 10**6))
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={DOMAIN}"]
        files = ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
        shell(*request, "-addext", f"subjectAltName=DNS:{DOMAIN}", *files)
        self._pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", 443, ca_certs=str(folder / "fullchain.pem"), server_hostname=DOMAIN, assert_hostname=DOMAIN
        )

    def post(self, chat_id: int, text: str) -> int:
        """Send a prompt as Telegram does, through TLS and nginx; return the status."""
        update = message(text, chat_id=chat_id, update_id=next(self._numbers))
        update["message"]["from"] = {**USER, "id": chat_id}
        webhook = self.telegram.webhook
        headers = {"Host": DOMAIN, "X-Telegram-Bot-Api-Secret-Token": webhook["secret_token"]}
        path = webhook["url"].removeprefix(f"https://{DOMAIN}")
        return self._pool.request(
            "POST", path, json=update, headers=headers, redirect=False, retries=False, timeout=10
        ).status

    def say(self, chat_id: int, text: str) -> None:
        """Send a prompt, and again while the webhook answers anything else than 200, as Telegram does."""
        self.telegram.chat(chat_id)
        wait_until(lambda: self._is_taken(chat_id, text), f"the webhook takes {text}", SECONDS)

    def _is_taken(self, chat_id: int, text: str) -> bool:
        try:
            return self.post(chat_id, text) == 200
        except urllib3.exceptions.HTTPError:
            return False

    def is_answered(self, chat_id: int, text: str, *, wholly: bool = True) -> bool:
        """Return whether the chat shows the answer to this prompt, to its end or as far as it has come."""
        end = LAST_WORDS if wholly else ""
        return any(f"You wrote: “{text}”" in shown and end in shown for shown in self.telegram.chat(chat_id).texts)

    def billed(self) -> int:
        return sum(line["billed"] for line in self.sandbox.billing.as_list())


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.fail(f"Port {port} is in use on this machine, so this was not tried. Stop what listens there.")
    shared = tmp_path / "shared"
    shared.mkdir()
    telegram = FakeTelegram()
    with running_sandbox(pause_seconds=0.3) as sandbox:
        yield World(shared, telegram, sandbox)
    telegram.close()


@pytest.fixture
def inside(tmp_path, world) -> Iterator[Machine]:
    """The machine, which knows the repository, the name and its certificate."""
    shell("git", "clone", "--quiet", "--bare", ROOT, world.folder / "aibot.git")
    with machine(tmp_path / "machine", world.folder) as made:
        made.run(f"echo 127.0.0.1 {DOMAIN} >>/etc/hosts")
        made.run("install -d -m 755 /etc/ssl/aibot; cp /run/shared/*.pem /etc/ssl/aibot")
        made.run("cat /run/shared/fullchain.pem >>/etc/ssl/certs/ca-certificates.crt")
        made.run("git config --global --add safe.directory '*'; export DEBIAN_FRONTEND=noninteractive")
        yield made
        print(made.run("tail -n 30 /var/log/aibot*.log"))  # shown where the test has failed


def test_a_server_from_nothing_to_its_restore(world, inside):
    chapters = blocks()
    values, packages, settings, proxy, start = chapters["Install"]
    assert set(re.findall(r"^(\w+)=", values, re.MULTILINE)) == {"REPOSITORY", "DOMAIN", "BOT_TOKEN", "OPENAI_API_KEY"}
    inside.run(f"REPOSITORY=/run/shared/aibot.git DOMAIN={DOMAIN} BOT_TOKEN={TOKEN} OPENAI_API_KEY=sandbox-key-openai")
    inside.run(packages)
    inside.run(settings)
    inside.run(f"setting TELEGRAM_API_BASE_URL {world.telegram.url}")
    inside.run(f"setting OPENAI_BASE_URL {world.sandbox.url}/openai/v1")
    inside.run(proxy)
    # With one provider's key the others are named as skipped, and nothing else.
    assert re.findall(r"\((\w+\.\w+)\)", inside.run(start).partition("Telegram sees")[0]) == ["providers.W001"]

    assert world.telegram.webhook["url"] == f"https://{DOMAIN}/telegram/webhook/"
    world.say(200, "first")
    wait_until(lambda: world.is_answered(200, "first"), "the first answer", SECONDS)

    slow_clients_keep_nobody_waiting(world, inside)

    restarted_under_ten_calls(world, lambda: inside.run(chapters["Upgrade"][0]))
    inside.run(chapters["Upgrade"][1])
    answered_after(world, "back")

    for name, pid in sorted(json.loads(inside.run("systemctl pids")).items()):
        inside.run(f"kill -KILL {pid}")
        answered_after(world, f"killed {name}", seconds=BACK_AGAIN_SECONDS)

    inside.run(chapters["Maintenance"][0])
    world.say(400, "meanwhile")
    told = world.telegram.chat(400)
    wait_until(lambda: told.texts == ["Back at noon; what you write is answered then."], "the notice", SECONDS)
    inside.run(chapters["Maintenance"][1])
    wait_until(lambda: world.is_answered(400, "meanwhile"), "the answer after the maintenance", SECONDS)

    picture = "/var/lib/aibot/media/outputs/a.png"
    inside.run(f"install -d -o aibot -g aibot /var/lib/aibot/media/outputs; echo picture >{picture}")
    inside.run(chapters["Backup and restore"][0])
    answered_after(world, "restored")
    assert "picture" in inside.run(f"runuser -u aibot -- cat {picture}")
    assert "first" in inside.run(
        'runuser -u postgres -- psql -d aibot -A -t -c "SELECT input_text FROM requests ORDER BY created_at LIMIT 1"'
    )
    inside.run(chapters["Replace a key"][0])
    answered_after(world, "new key")


def answered_after(world: World, text: str, *, seconds: float = SECONDS) -> None:
    chat_id = 300
    world.say(chat_id, text)
    wait_until(lambda: world.is_answered(chat_id, text, wholly=False), f"an answer to {text}", seconds)
    wait_until(lambda: world.is_answered(chat_id, text), f"the whole answer to {text}", SECONDS)


def restarted_under_ten_calls(world: World, restart: Callable[[], object]) -> None:
    """SIGTERM of every process, by the unit files' own rules, with ten calls under way: ten answers, ten payments."""
    before = world.billed()
    for chat_id in CHATS:
        world.say(chat_id, "under way")
    restart()
    for chat_id in CHATS:
        is_answered = partial(world.is_answered, chat_id, "under way")
        wait_until(is_answered, f"the answer in {chat_id}", SECONDS)
    assert world.billed() - before == len(CHATS)
    assert [len(world.telegram.chat(chat_id).texts) for chat_id in CHATS] == [1] * len(CHATS)


def slow_clients_keep_nobody_waiting(world: World, inside: Machine) -> None:
    """Hold more connections than the web processes have threads: some read no video, some never end their headers."""
    outputs = "/var/lib/aibot/media/outputs"
    inside.run(f"install -d -o aibot -g aibot {outputs}; truncate -s 60M {outputs}/long.mp4; chown aibot: {outputs}/*")
    key = inside.run(f"aibot shell --no-imports -c '{MAKE_TOKEN}'").split()[-1]
    context = ssl.create_default_context(cafile=str(world.folder / "fullchain.pem"))
    head = f"GET /media/outputs/long.mp4 HTTP/1.1\r\nHost: {DOMAIN}\r\nAuthorization: Token {key}\r\n"
    with ExitStack() as held:
        for ending in ["\r\n"] * 18 + [""] * 64:
            plain = held.enter_context(socket.socket())
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.settimeout(BACK_AGAIN_SECONDS)
            plain.connect(("127.0.0.1", 443))
            client = held.enter_context(context.wrap_socket(plain, server_hostname=DOMAIN))
            client.sendall((head + ending).encode())
            if ending:
                assert client.recv(15) == b"HTTP/1.1 200 OK"
        answered_after(world, "beside slow clients", seconds=BACK_AGAIN_SECONDS)
