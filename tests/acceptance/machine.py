"""A machine of its own for a test: this one's files, below an overlay in memory that takes every change.

Root and Linux are needed. Processes that are started inside end with it; the network is this machine's.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import pytest

SYSTEMCTL = Path(__file__).with_name("systemctl.py")
FOR_DOWNLOADS = ("PIP_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT")
END = "--- end of the block:"
# In a mount namespace of its own: `/` below an overlay in memory, with /proc of the new process namespace.
ENTER = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o size=8g machine "$1"
mkdir -m 755 "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" machine "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs run "$1/root/run"
mkdir -p "$1/root/run/lock" "$1/root/run/shared"
mount --bind "$2" "$1/root/run/shared"
exec chroot "$1/root" /bin/bash
"""


class Machine:
    """A shell of root inside. What it sets stays for the next block."""

    def __init__(self, process: subprocess.Popen[str], shared: Path) -> None:
        self._process, self._shared = process, shared
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)

    def run(self, block: str, *, seconds: float = 600) -> str:
        """Run a block in the shell, which ends at its first error. Returns what it printed."""
        assert self._process.stdin
        # From a file, since what a program reads from its standard input would be missing here.
        (self._shared / "block").write_text(block, encoding="utf-8")
        self._process.stdin.write(f"set -e; . /run/shared/block </dev/null; set +e; echo; echo '{END}'\n")
        self._process.stdin.flush()
        printed = ""
        until = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=1)
            except Empty:
                if self._process.poll() is not None:
                    pytest.fail(f"The block failed:\n{block}\n\nIt printed:\n{printed}")
                if time.monotonic() > until:
                    pytest.fail(f"The block has not ended after {seconds:.0f} s:\n{block}\n\nIt printed:\n{printed}")
                continue
            if line.startswith(END):
                return printed
            printed += line


@contextmanager
def machine(folder: Path, shared: Path) -> Iterator[Machine]:
    """Run a machine for the length of the block; it sees the folder `shared` as /run/shared."""
    if os.geteuid() != 0:
        pytest.fail("This needs root, for a mount namespace of its own: it was not tried.")
    folder.mkdir()
    unshare = ["/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child"]
    process = subprocess.Popen(
        [*unshare, "/bin/sh", "-c", ENTER, "sh", folder, shared],
        env={"HOME": "/root", **{name: value for name, value in os.environ.items() if name.startswith(FOR_DOWNLOADS)}},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        inside = Machine(process, shared)
        shutil.copy(SYSTEMCTL, shared / "systemctl")
        inside.run("install -m 755 /run/shared/systemctl /usr/local/sbin/systemctl")
        inside.run("export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
        yield inside
    finally:
        process.kill()
        process.wait()
