"""First-run set-up, before there are settings: writes a .env for trying the product, unless there is one.

`python -m aibot.firstrun`. A file, because a second terminal must find the same key, data and sandbox.
"""

import os
import secrets
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SANDBOX_URL = "http://127.0.0.1:8090"


def main() -> None:
    path = Path(os.environ.get("ENV_FILE") or BASE_DIR / ".env")
    if write_env_file(path, BASE_DIR / ".env.example"):
        print(f"Wrote {path} for trying it out: a random SECRET_KEY, DEBUG=True, the sandbox. Keys go there, too.")


def write_env_file(path: Path, example: Path) -> bool:
    """Write the example with values for this machine, readable by its owner only; leave a file that exists alone."""
    values = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "DEBUG": "True",
        "ALLOWED_HOSTS": "",
        "SANDBOX_URL": os.environ.get("SANDBOX_URL") or SANDBOX_URL,
    }
    lines = [_filled(line, values) for line in example.read_text(encoding="utf-8").splitlines()]
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return True


def _filled(line: str, values: dict[str, str]) -> str:
    name, equals, _ = line.partition("=")
    return f"{name}={values[name]}" if equals and name in values else line


if __name__ == "__main__":
    main()
