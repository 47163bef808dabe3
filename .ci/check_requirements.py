"""Refuse requirements*.txt that do not pin what requirements*.in ask for. It reads files only, so it works offline."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("requirements", "requirements-dev")
PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[\w, -]+)\])?==(?P<version>[^\s;]+)")
IS_DIRECT = re.compile(r"-r requirements[\w-]*\.in$", re.MULTILINE)


def main() -> int:
    problems = [problem for name in NAMES for problem in compare(ROOT / f"{name}.in", ROOT / f"{name}.txt")]
    if problems:
        sys.stderr.write("\n".join([*problems, "Run `make lock`, and commit the .in and .txt files together.\n"]))
    return 1 if problems else 0


def compare(source: Path, lock: Path) -> Iterable[str]:
    """Yield what the lock file lacks, and what it still has of a package that the source no longer names."""
    entries = re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8"))
    wanted = set(direct_pins(source))
    locked = {canonical(match): entry for entry in entries if (match := PIN.match(entry))}
    for pin in sorted(wanted - locked.keys()):
        yield f"{lock.name} does not pin {pin}, as {source.name} does."
    for pin, entry in locked.items():
        if pin not in wanted and IS_DIRECT.search(entry):
            yield f"{lock.name} pins {pin}, which {source.name} does not name."
        if "--hash=sha256:" not in entry:
            yield f"{lock.name}: {pin} has no hash."


def direct_pins(source: Path) -> Iterable[str]:
    """Yield each pin in its canonical form, those of included files too."""
    for line in source.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            yield from direct_pins(source.with_name(text.removeprefix("-r ")))
        elif text and not text.startswith("-c "):
            pin = PIN.fullmatch(text)
            if not pin:
                raise SystemExit(f"{source.name}: {text!r} is not an exact pin such as name==1.2.3.")
            yield canonical(pin)


def canonical(pin: re.Match[str]) -> str:
    """Return name[extras]==version with every name spelled the one way that package indexes use."""
    name = re.sub(r"[-_.]+", "-", pin["name"]).lower()
    extras = ",".join(sorted((pin["extras"] or "").replace(" ", "").split(",")))
    return f"{name}[{extras}]=={pin['version']}" if extras else f"{name}=={pin['version']}"


if __name__ == "__main__":
    sys.exit(main())
