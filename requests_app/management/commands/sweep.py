"""`manage.py sweep`: run the functions of settings.SWEEPS, a periodic reconciliation, in a process of its own."""

import logging
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import close_old_connections
from django.utils.module_loading import import_string

from requests_app.dispatch import flush

logger = logging.getLogger("requests_app.sweeper")


class Command(BaseCommand):
    help = "Wake workers for requests, updates and deliveries that are due and unclaimed, every few seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Sweep once and exit.")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        sweeps = [import_string(path) for path in settings.SWEEPS]
        stop = threading.Event()
        if not once:
            for signal_number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signal_number, lambda *_: stop.set())
            logger.info("Sweeping every %d s.", settings.SWEEP_SECONDS)
        while not stop.is_set():
            for sweep in sweeps:
                _run_safely(sweep)
            if once:
                break
            stop.wait(settings.SWEEP_SECONDS)
        flush(timeout_seconds=3)


def _run_safely(sweep: Any) -> None:
    close_old_connections()
    try:
        sweep()
    except Exception:
        # One broken sweep must end neither the others nor the sweeper, on which recovery from every crash relies.
        logger.exception("%s.%s failed; the next round tries again.", sweep.__module__, sweep.__name__)
