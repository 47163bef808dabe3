"""`manage.py sweep`: run the functions of settings.SWEEPS, a periodic reconciliation, in a process of its own."""

import logging
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import OperationalError, close_old_connections
from django.utils.module_loading import import_string

from providers.db import is_postgresql
from requests_app.dispatch import flush
from requests_app.services.heartbeats import Heartbeat

logger = logging.getLogger("requests_app.sweeper")


class Command(BaseCommand):
    help = "End what is overdue, close what was orphaned, delete what is old: every few seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Sweep once and exit.")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        sweeps = [import_string(path) for path in settings.SWEEPS]
        heartbeat = Heartbeat("sweeper")
        try:
            heartbeat.beat()  # without its tables the start fails at once
        except OperationalError:
            if once or not is_postgresql():  # SQLite calls a missing table so, too
                raise
            logger.warning("The database does not answer; sweeping begins when it does.")
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
            _run_safely(heartbeat.beat)
            stop.wait(settings.SWEEP_SECONDS)
        _run_safely(heartbeat.end)
        flush(timeout_seconds=3)


def _run_safely(sweep: Any) -> None:
    close_old_connections()
    try:
        sweep()
    except Exception:
        # One broken sweep must end neither the others nor the sweeper, on which recovery from every crash relies.
        logger.exception("%s.%s failed; the next round tries again.", sweep.__module__, sweep.__qualname__)
