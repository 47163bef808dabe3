#!/usr/bin/python3
"""A `systemctl` for a machine without systemd: it honours the rules of our unit files by which processes are run.

User, WorkingDirectory, Environment, UMask, StateDirectory, ExecStart, Restart, RestartSec, TimeoutStopSec, KillMode and
Type=oneshot. Not the hardening, and no timers. Debian's own services are started by their scripts in /etc/init.d.
"""

import fnmatch
import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
import time
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUNNING = Path("/run/units")  # a file for each unit, with the ids of its runner and its process
START_SECONDS = 10


class Unit:
    """One of our services, such as aibot-worker@1."""

    def __init__(self, name: str) -> None:
        self.name = name
        template, at, self.instance = name.partition("@")
        parser = ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str
        parser.read(UNITS / f"{template}{at}.service")
        self.settings = dict(parser["Service"])

    @property
    def command(self) -> list[str]:
        # %i is the instance, %% a per cent sign.
        text = re.sub(r"%(.)", lambda match: {"i": self.instance, "%": "%"}[match[1]], self.settings["ExecStart"])
        return shlex.split(text)

    def start(self) -> subprocess.Popen:
        account = pwd.getpwnam(self.settings["User"])
        state = Path("/var/lib", self.settings["StateDirectory"])
        state.mkdir(exist_ok=True)
        os.chown(state, account.pw_uid, account.pw_gid)
        state.chmod(int(self.settings["StateDirectoryMode"], 8))
        variable, _, value = self.settings["Environment"].partition("=")
        return subprocess.Popen(
            self.command,
            cwd=self.settings["WorkingDirectory"],
            env={"PATH": "/usr/bin:/bin", "HOME": account.pw_dir, variable: value},
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            umask=int(self.settings["UMask"], 8),
            stdin=subprocess.DEVNULL,
            stdout=Path("/var/log", f"{self.name}.log").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run(name: str) -> None:
    """Run a service until SIGTERM, and start it again each time that it ends."""
    unit = Unit(name)
    is_over = False

    def end(*_: object) -> None:
        nonlocal is_over
        is_over = True
        process.send_signal(signal.SIGTERM)

    process = unit.start()
    signal.signal(signal.SIGTERM, end)
    while True:
        (RUNNING / name).write_text(json.dumps([os.getpid(), process.pid]))
        ended = False
        while not is_over and not ended:
            ended = process.poll() is not None
            time.sleep(0.05)
        if is_over:
            break
        kill_group(process)
        time.sleep(float(unit.settings["RestartSec"]))
        if is_over:
            break
        process = unit.start()
    try:
        process.wait(float(unit.settings["TimeoutStopSec"]))
    except subprocess.TimeoutExpired:
        print(f"{name} had to be killed", file=sys.stderr)
    kill_group(process)  # KillMode=mixed: what is left of its group
    (RUNNING / name).unlink()


def kill_group(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def start(name: str) -> None:
    if not name.startswith("aibot"):
        subprocess.run(["/etc/init.d/" + name, "start"], check=True)
    elif name.endswith(".timer"):
        assert (UNITS / name).exists()
    elif Unit(name).settings.get("Type") == "oneshot":
        if Unit(name).start().wait():
            sys.exit(f"{name} failed:\n{Path('/var/log', f'{name}.log').read_text()}")
    elif not (RUNNING / name).exists():
        with Path("/var/log", f"{name}.runner.log").open("ab") as log:
            subprocess.Popen([sys.executable, __file__, "run", name], stdout=log, stderr=log, start_new_session=True)
        wait_until((RUNNING / name).exists, START_SECONDS)


def stop(name: str) -> None:
    if (RUNNING / name).exists():
        runner, _ = json.loads((RUNNING / name).read_text())
        os.kill(runner, signal.SIGTERM)
        wait_until(lambda: not (RUNNING / name).exists(), float(Unit(name).settings["TimeoutStopSec"]) + START_SECONDS)


def wait_until(condition: object, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def main(verb: str, *words: str) -> None:
    RUNNING.mkdir(exist_ok=True)
    names = [word.removesuffix(".service") for word in words if not word.startswith("-")]
    running = sorted(path.name for path in RUNNING.iterdir())
    names = [found for name in names for found in (fnmatch.filter(running, name) if "*" in name else [name])]
    if verb == "daemon-reload":
        return
    if verb == "run":
        run(*names)
    elif verb == "reload":
        for name in names:
            subprocess.run(["/etc/init.d/" + name, "reload"], check=True)
    elif verb in ("start", "enable"):
        for name in names:
            start(name)
    elif verb in ("stop", "restart"):
        # All at once, as systemd does; a restart begins once they have ended.
        stops = [subprocess.Popen([sys.executable, __file__, "stop-one", name]) for name in names]
        assert {process.wait() for process in stops} <= {0}
        if verb == "restart":
            for name in names:
                start(name)
    elif verb == "stop-one":
        stop(*names)
    elif verb == "pids":
        print(json.dumps({path.name: json.loads(path.read_text())[1] for path in RUNNING.iterdir()}))
    else:
        sys.exit(f"unknown: {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
