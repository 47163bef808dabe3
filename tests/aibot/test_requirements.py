"""requirements*.in say what is wanted, requirements*.txt what is installed: `make lint` notices when they differ."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CHECK = Path(".ci", "check_requirements.py")


def run_check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, folder / CHECK], capture_output=True, text=True, timeout=60, check=False)


def test_both_agree():
    assert run_check(ROOT).returncode == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("requirements.in", "Django==", "Django==9", "requirements.txt does not pin django==9"),
        ("requirements.in", "celery[redis]==", "celery==", "requirements.txt pins celery[redis]=="),
        ("requirements.in", "django-axes==", "# django-axes==", "requirements-dev.txt pins django-axes=="),
        ("requirements-dev.in", "ruff==", "ruff>=", "is not an exact pin such as name==1.2.3"),
        ("requirements-dev.txt", "--hash=sha256:", "", "has no hash"),
    ],
)
def test_a_difference_is_named(tmp_path, file, old, new, complaint):
    for path in (CHECK, *(path.relative_to(ROOT) for path in ROOT.glob("requirements*"))):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))

    outcome = run_check(tmp_path)

    assert outcome.returncode == 1
    assert complaint in outcome.stderr
