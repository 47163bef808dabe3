"""The soak: `python -m tests.proof.soak --minutes 20` injects faults everywhere, then checks that nothing is lost.

It runs the product as production does, on two PostgreSQL servers and a Valkey of its own, under generated traffic,
while processes are killed and paused, servers restarted and replaced, clocks wrong, and providers and Telegram fail.
With --embedded it runs it as `manage.py run` does, on files. Then all faults end, the remaining work is finished, and
the checker looks at the result. The exit code is 1 where the promise was broken.
"""

import argparse
import base64
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import django
from django.utils.module_loading import import_string

from providers.sandbox import running_sandbox
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.proof.failover import postgres_pair
from tests.servers import free_port, servers_folder, valkey
from tests.wrong_clock import PACKAGE, faketime_library

JOB_SECONDS = 1.5
PAUSE_SECONDS = 0.03  # between the chunks of a stream, which then takes a second
# Shorter than in production, so that a lot happens; fast_timings.py shortens what has no setting.
FAST_SETTINGS = {
    "LEASE_SECONDS": "2",
    "SWEEP_SECONDS": "1",
    "MAX_OPEN_REQUESTS": "6",
}
PRODUCTION_SETTINGS = {"WORKER_CONCURRENCY": "200", "DATABASE_POOL_SIZE": "20"}  # many threads on few connections
MIN_MINUTES_WITH_CLOCKS = 2.0
KNEE, EMBEDDED_KNEE = 8.0, 4.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="how long faults are injected (default: %(default)g)"
    )
    parser.add_argument(
        "--knee",
        type=float,
        help="updates a second that this machine can handle; half and 0.9 of it come in turn",
    )
    parser.add_argument("--embedded", action="store_true", help="as `manage.py run`: SQLite, and the broker in files")
    parser.add_argument("--right-clocks", action="store_true", help="let no machine's clock be wrong")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the faults and the traffic")
    parser.add_argument(
        "--logs", type=Path, help="a folder that keeps the logs; without it they are kept after a violation"
    )
    options = parser.parse_args()
    has_wrong_clocks = options.minutes >= MIN_MINUTES_WITH_CLOCKS and not options.right_clocks
    if has_wrong_clocks and not faketime_library():
        sys.exit(
            "libfaketime, which makes clocks wrong, is not installed. On Debian and Ubuntu: apt-get install "
            f"{PACKAGE}. To go without: --right-clocks"
        )
    # SIGTERM raises an exception, so that the children end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"Soak of {options.minutes:g} minutes, seed {options.seed}", flush=True)
    with ExitStack() as stack:
        folder = stack.enter_context(servers_folder())
        database = None if options.embedded else stack.enter_context(postgres_pair(folder))
        broker = None if options.embedded else stack.enter_context(valkey(folder))
        hook_secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
        sandbox = stack.enter_context(
            running_sandbox(pause_seconds=PAUSE_SECONDS, video_seconds=JOB_SECONDS, webhook_secret=hook_secret)
        )
        bot_api = FakeTelegram()
        stack.callback(bot_api.close)
        data = folder / "data"
        logs = options.logs or Path(tempfile.mkdtemp(prefix=f"aibot-soak-{options.seed}-"))
        for path in (data, logs):
            path.mkdir(parents=True, exist_ok=True)
        port = free_port()
        os.environ.update(_environment(data))
        if database and broker:
            os.environ.update(PRODUCTION_SETTINGS, DATABASE_URL=database.url, REDIS_URL=broker.url)
        os.environ.update(
            SANDBOX_URL=sandbox.url,
            PUBLIC_URL=f"http://127.0.0.1:{port}",
            REPLICATE_WEBHOOK_SECRET=hook_secret,
            TELEGRAM_API_BASE_URL=bot_api.url,
        )
        django.setup()
        # Imported only now, because the settings are configured now.
        run_soak = import_string("tests.proof.soak_steps.run_soak")
        servers = import_string("tests.proof.nemesis.Servers")
        code = run_soak(
            servers=servers(database, broker) if database else None,
            sandbox=sandbox,
            bot_api=bot_api,
            logs=logs,
            port=port,
            seconds=60 * options.minutes,
            knee=options.knee or (EMBEDDED_KNEE if options.embedded else KNEE),
            seed=options.seed,
            has_wrong_clocks=has_wrong_clocks,
        )
    if code:
        print(f"The evidence is in {logs}")
    elif not options.logs:
        shutil.rmtree(logs)
    return int(code)


def _environment(data: Path) -> dict[str, str]:
    """Return the settings of production, with addresses on the loopback alone."""
    for name in list(os.environ):
        if name.endswith(("_KEY", "_TOKEN", "_BASE_URL", "_KEY_FILE", "_TOKEN_FILE")):
            del os.environ[name]  # a key in the developer's shell must never be used here
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "DJANGO_SETTINGS_MODULE": "aibot.settings",
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(data),
        "SECRET_KEY": secrets.token_hex(30),
        "DEBUG": "False",
        "HTTPS": "False",
        "ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": secrets.token_hex(16),
        "PYTHONWARNINGS": "ignore",
        **FAST_SETTINGS,
    }


if __name__ == "__main__":
    # A shell that starts it in the background makes it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        code = main()
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"{time.monotonic() - began:.0f} s in all")
    sys.exit(code)
