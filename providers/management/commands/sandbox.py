"""Run the sandbox, or break and heal a provider of the one that runs."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from providers.access import callback_secret
from providers.registry import PROVIDERS
from providers.sandbox import Sandbox, control_client
from providers.sandbox.fake_jobs import VIDEO_SECONDS
from providers.sandbox.faults import InjectedFault

DEFAULT_URL = "http://127.0.0.1:8090"
FAULTS = ", ".join(InjectedFault)
SLUGS = ", ".join(PROVIDERS)


class Command(BaseCommand):
    help = "A local server that answers in the providers' formats, for trying things out without a key."
    requires_system_checks = ()  # the sandbox needs neither a database nor a complete set of keys

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action",
            nargs="?",
            default="serve",
            choices=("serve", "break", "heal", "status"),
            help="serve (the default): run it until it is stopped; the others talk to the one that runs.",
        )
        parser.add_argument("provider", nargs="?", default="", help=f"Which to break or heal: {SLUGS}.")
        parser.add_argument("fault", nargs="*", default=[], help=f"How to break it: {FAULTS}.")
        parser.add_argument(
            "--video-seconds",
            type=float,
            default=VIDEO_SECONDS,
            help="How long a video takes to be generated (default: %(default)s); for serve only.",
        )

    def handle(
        self, *args: Any, action: str, provider: str, fault: list[str], video_seconds: float, **options: Any
    ) -> None:
        url = settings.SANDBOX_URL or DEFAULT_URL
        if action == "serve":
            self._serve(url, video_seconds)
            return
        if action == "break" and not (provider and fault):
            raise CommandError(f"Say what to break and how: manage.py sandbox break aimlapi down (or {FAULTS}).")
        try:
            if action == "break":
                faults = control_client.break_provider(url, provider, InjectedFault.named(" ".join(fault)).value)
            elif action == "heal":
                faults = control_client.heal(url, provider)
            else:
                faults = control_client.faults_of(url)
        except control_client.SandboxNotRunning as error:
            raise CommandError(f"{error} Start it with `make run` or `manage.py sandbox`.") from error
        except ValueError as error:
            raise CommandError(str(error)) from error
        for slug, state in faults.items():
            self.stdout.write(f"{slug:<11} {state or 'works'}")

    def _serve(self, url: str, video_seconds: float) -> None:
        address = urlsplit(url)
        try:
            sandbox = Sandbox(
                address.hostname or "",
                address.port or 80,
                video_seconds=video_seconds,
                webhook_secret=callback_secret("replicate"),
            )
        except ValueError as error:
            raise CommandError(f"{error} Change SANDBOX_URL.") from error
        except OSError as error:
            raise CommandError(
                f"The sandbox cannot listen on {url}: {error.strerror}. Set SANDBOX_URL to another port, such as "
                f"{DEFAULT_URL.replace('8090', '8091')}."
            ) from error
        for number in (signal.SIGTERM, signal.SIGINT):
            # From a thread: shutting down waits for the loop that this signal interrupts.
            signal.signal(number, lambda *_: threading.Thread(target=sandbox.close).start())
        self.stdout.write(f"The sandbox answers at {sandbox.url} in place of {', '.join(sandbox.vendors)}.")
        sandbox.serve_forever(poll_interval=0.2)
