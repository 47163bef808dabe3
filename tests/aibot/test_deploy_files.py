"""The deployment files agree with each other, with the settings and with the commands that the tests run."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from telegram_bot.api import client
from tests.proof.process_pool import command_of

ROOT = Path(__file__).resolve().parent.parent.parent
UNITS = ROOT / "deploy" / "systemd"
LONGEST_TEXT_SECONDS = settings.DEADLINE_SECONDS["TEXT"]


def service(name: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(UNITS / f"{name}.service", encoding="utf-8")
    return dict(parser["Service"])


def seconds(words: str) -> int:
    return int(words.removesuffix("s"))


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


@pytest.mark.parametrize("name", ["worker", "worker-chat", "sweeper"])
def test_the_same_command_everywhere(compose, name):
    unit = service(f"aibot-{name}{'@' if name == 'worker' else ''}")["ExecStart"].removeprefix("/opt/aibot/.venv/bin/")

    assert unit.replace("%%", "%").replace("-n worker%i@%h ", "") == command_of(name)
    assert " ".join(compose[name]["command"]) == command_of(name)


def test_the_web_processes_are_the_same_and_the_loopbacks_on_a_server():
    options = command_of("web").partition("--workers")[2].replace("${WEB_CONCURRENCY:-2}", "2")

    assert service("aibot-web")["ExecStart"].partition("--workers")[2] == options
    assert "--bind 127.0.0.1:" in service("aibot-web")["ExecStart"]
    assert '"--workers", "2", "--threads", "8", "--no-control-socket"' in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("name", "needed"),
    [("worker@", LONGEST_TEXT_SECONDS), ("worker-chat", client.UPLOAD_SECONDS), ("web", 30), ("sweeper", 20)],
)
def test_what_is_under_way_may_end_before_it_is_killed(compose, name, needed):
    assert int(service(f"aibot-{name}")["TimeoutStopSec"]) > needed
    assert seconds(compose[name.rstrip("@")]["stop_grace_period"]) > needed


@pytest.mark.parametrize("name", ["web", "worker@", "worker-chat", "sweeper"])
def test_what_dies_is_started_again_at_once(compose, name):
    assert (service(f"aibot-{name}")["Restart"], service(f"aibot-{name}")["RestartSec"]) == ("always", "1")
    assert compose[name.rstrip("@")]["restart"] == "always"


def test_every_service_may_do_as_little_as_the_others():
    hardening = {
        path.name: path.read_text().partition("# Its data")[2].partition("[Install]")[0].strip()
        for path in UNITS.glob("*.service")
    }

    assert len(set(hardening.values())) == 1
    assert "ProtectSystem=strict" in hardening["aibot-web.service"]


def test_the_image_has_everything_that_the_product_needs():
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {"aibot", "providers", "requests_app", "telegram_bot", "templates"} <= copied
    let_in = set((ROOT / ".dockerignore").read_text().split())
    assert {f"!{name}" for name in copied} <= let_in
