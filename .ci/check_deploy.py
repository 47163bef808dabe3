"""Check the deployment files with the programs that will read them: hadolint, compose-lint, systemd-analyze, nginx.

The first two come with the requirements. Without one of the others its files are not checked, and a line says so.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
INSTALLED_AT = "/opt/aibot"  # what the unit files say
CERTIFICATES_AT = "/etc/ssl/aibot"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        failed = [name for name, command in checks(Path(folder)) if not passes(name, command)]
    return 1 if failed else 0


def checks(folder: Path) -> Iterator[tuple[str, list[str | Path]]]:
    yield "Dockerfile", [BIN / "hadolint", ROOT / "Dockerfile"]
    yield "compose.yaml", [BIN / "compose-lint", "check", "--fail-on", "high", ROOT / "compose.yaml"]
    if path := found("systemd-analyze", "systemd"):
        yield "deploy/systemd", [path, "verify", "--man=no", *units(folder)]
    if path := found("nginx", "nginx"):
        yield "deploy/nginx.conf", [path, "-t", "-q", "-c", nginx_configuration(folder)]


def found(program: str, package: str) -> str | None:
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        print(f"NOT CHECKED for want of {program}: apt-get install {package}")
    return path


def passes(name: str, command: list[str | Path]) -> bool:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    complaints = done.stderr.strip()
    # systemd-analyze only warns of a setting that it does not know.
    is_fine = not done.returncode and not (complaints and Path(command[0]).name == "systemd-analyze")
    print(f"{name}: {'fine' if is_fine else f'refused{chr(10)}{done.stdout}{complaints}'}")
    return is_fine


def units(folder: Path) -> Iterator[Path]:
    """Yield copies of the units whose programs are those of this checkout: a missing one is an error."""
    for unit in sorted((ROOT / "deploy" / "systemd").iterdir()):
        text = unit.read_text(encoding="utf-8").replace(f"{INSTALLED_AT}/.venv/bin", str(BIN))
        copy = folder / unit.name.replace("@.", "@1.")
        copy.write_text(text.replace(INSTALLED_AT, str(ROOT)), encoding="utf-8")
        yield copy


def nginx_configuration(folder: Path) -> Path:
    """Return a whole configuration around ours, with a certificate of its own."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=bot.example.com"]
    files = ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
    subprocess.run([*command, *files], capture_output=True, check=True)
    ours = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8").replace(CERTIFICATES_AT, str(folder))
    # Ports that anybody may open: the check binds them.
    ours = ours.replace("]:80;", "]:18080;").replace("listen 80;", "listen 18080;").replace("443 ssl", "18443 ssl")
    path = folder / "nginx.conf"
    own = f"pid {folder}/pid; error_log stderr; events {{}}"
    path.write_text(f"{own}\nhttp {{ access_log off; client_body_temp_path {folder}/body; {ours} }}", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
