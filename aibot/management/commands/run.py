"""Start everything in one terminal: web, worker, sweeper, and what else the settings ask for."""

import os
import secrets
import signal
import socket
import sys
import threading
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from aibot.data_lock import begin_data_dir
from aibot.env import MAX_PORT
from aibot.supervisor import Supervisor
from providers.access import is_configured
from providers.registry import PROVIDERS
from requests_app.dispatch import CHAT
from telegram_bot.api.errors import BotApiError
from telegram_bot.operator import operator_line

HOST = "127.0.0.1"
ADMIN_NAME = "admin"


class Command(BaseCommand):
    help = "Start everything in this terminal: web, worker, sweeper, the sandbox without keys, polling with a bot."

    def handle(self, *args: Any, **options: Any) -> None:
        port = settings.PORT
        begin_data_dir(port)
        _refuse_a_taken_port(HOST, port, f"PORT={_next_port(port)} make run")
        if settings.SANDBOX_ACTIVE:
            sandbox = urlsplit(settings.SANDBOX_URL)
            other_url = f"http://{HOST}:{_next_port(sandbox.port or 80)}"
            _refuse_a_taken_port(sandbox.hostname or "", sandbox.port or 80, f"SANDBOX_URL={other_url} in .env")
        call_command("migrate", verbosity=0)
        call_command("sync_providers", stdout=StringIO())
        password = _create_admin_once()
        # The processes that follow are forks of this one, and two processes must not share a connection.
        connections.close_all()
        self.stdout.write(_banner(port, password))
        supervisor = Supervisor(_processes(port), sys.stdout, _log_file())
        # A hang-up too: closing the terminal ends everything.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.stop())
        if settings.TELEGRAM_BOT_TOKEN:
            threading.Thread(target=self._show_operator_line, daemon=True).start()
        supervisor.run()
        self.stdout.write("Everything has ended.")

    def _show_operator_line(self) -> None:
        """Print how the operator's chat is claimed, to the terminal alone: the log is no place for the link."""
        try:
            self.stdout.write(operator_line())
        except BotApiError as error:
            self.stdout.write(f"No link to claim the operator's chat, `manage.py telegram_setup` prints it: {error}")
        finally:
            connections.close_all()


def _next_port(port: int) -> int:
    return port + 1 if port < MAX_PORT else port - 1


def _log_file() -> Path:
    folder: Path = settings.DATA_DIR / "logs"
    folder.mkdir(exist_ok=True)
    return folder / "combined.log"


def _processes(port: int) -> dict[str, list[str]]:
    """Return the command line of each process by its name."""
    web = ["gunicorn", "aibot.wsgi", "--bind", f"{HOST}:{port}", "--threads", "8", "--log-level", "warning"]
    # Few workers have nothing to gossip about, and stop sooner without.
    worker = ["celery", "-A", "aibot", "--quiet", "worker", "--without-gossip", "--without-mingle"]
    # The warning is for servers; as root in a container is fine here.
    run_worker = ["-W", "ignore:You're running the worker", "-m", *worker, "--without-heartbeat"]
    commands = {
        "web": ["-m", *web, "--no-control-socket"],
        "worker": run_worker,
        "worker-chat": [*run_worker, "-Q", CHAT, "-n", "chat@%h"],
        "sweeper": ["manage.py", "sweep"],
    }
    if settings.SANDBOX_ACTIVE:
        commands["sandbox"] = ["manage.py", "sandbox"]
    if settings.TELEGRAM_BOT_TOKEN and not settings.TELEGRAM_WEBHOOK_URL:
        commands["bot"] = ["manage.py", "bot"]
    return {name: [sys.executable, *words] for name, words in commands.items()}


def _refuse_a_taken_port(host: str, port: int, remedy: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # A port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} of {host} is not free ({error.strerror}). Stop what uses it, or choose another: {remedy}"
            ) from error


def _create_admin_once() -> str:
    """Create the first administrator and return the password; return nothing when there is one already."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return ""
    password = secrets.token_urlsafe(12)
    users.create_superuser(username=ADMIN_NAME, password=password)
    return password


def _banner(port: int, password: str) -> str:
    url = f"http://localhost:{port}"
    login = f"   user {ADMIN_NAME}, password {password} (shown only this once)" if password else ""
    lines = [
        "",
        f"  The AI bot runs at {url}",
        "",
        f"  admin        {url}/admin/{login}",
        f"  statistics   {url}/api/providers/stats",
        f"  interface    {url}/api/docs/",
        f"  state        {url}/readyz",
        "",
        *_where_answers_come_from(),
        *_what_to_try(),
        "  Ctrl-C ends everything.",
        "",
    ]
    return "\n".join(lines)


def _where_answers_come_from() -> list[str]:
    if settings.SANDBOX_ACTIVE:
        return [
            f"  No provider's key is set, so the SANDBOX answers ({settings.SANDBOX_URL}): invented answers, no bill.",
            "  For real answers put a key into .env, such as OPENAI_API_KEY=…, and start again.",
            "",
        ]
    keyed = [slug for slug in PROVIDERS if is_configured(slug)]
    if not keyed:
        return ["  No provider's key is set and SANDBOX_URL is empty, so nobody answers. Set one of them in .env.", ""]
    return [f"  Real providers answer, and send their bills: {', '.join(keyed)}.", ""]


def _what_to_try() -> list[str]:
    manage = "python manage.py"
    if sys.prefix != sys.base_prefix:
        manage = f"{os.path.relpath(sys.prefix)}/bin/{manage}"
    lines = ["  To try, in a second terminal:", f'    {manage} ask TEXT "Say hello"']
    if settings.SANDBOX_ACTIVE:
        lines += [
            f'    {manage} ask IMAGE "A lighthouse at dawn"    (or VIDEO, AUDIO)',
            f"    {manage} sandbox break aimlapi down    (ask again: the next provider answers)",
            f"    {manage} sandbox heal",
        ]
    return [*lines, ""]
