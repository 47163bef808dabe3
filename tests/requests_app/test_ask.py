"""`manage.py ask` on the sandbox: every category, each provider alone, and the output."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from providers.models import Attempt, ProviderConfig
from providers.registry import PROVIDERS
from providers.types import Category
from requests_app.models import Request

pytestmark = pytest.mark.django_db

PROVIDER_CATEGORIES = [(category, slug) for slug, spec in PROVIDERS.items() for category in spec.backends]


@pytest.fixture(autouse=True)
def _sandbox_and_media_folder(sandboxed, memory_backend, enqueued, settings, tmp_path):
    """Files are stored in a folder, as in the embedded setting."""
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}
    settings.MEDIA_ROOT = tmp_path


def ask(category: str, prompt: str, *options: str) -> str:
    printed = io.StringIO()
    call_command("ask", category, prompt, *options, stdout=printed)
    return printed.getvalue()


def ask_as_json(category: str, prompt: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ask(category, prompt, "--json"))
    return answer


@pytest.mark.parametrize("category", Category)
def test_it_succeeds_in_every_category(category):
    printed = ask(category, "A quiet lake")

    request = Request.objects.get()
    tried = f"Trying {request.actual_provider} for {category}"
    success = f"✓ {request.actual_provider} succeeded for {category}"
    assert printed.startswith(
        f"{tried}\n{success}\nRequest {request.id} served by provider: {request.actual_provider}\n"
    )


@pytest.mark.parametrize("category", [Category.IMAGE, Category.VIDEO, Category.AUDIO])
def test_it_prints_where_the_file_is(category):
    printed = ask(category, "A quiet lake")

    (path,) = (Path(line) for line in printed.splitlines() if line.startswith("/"))
    assert path.stat().st_size > 100


@pytest.mark.parametrize(("category", "slug"), PROVIDER_CATEGORIES, ids=lambda value: str(value).lower())
def test_each_provider_alone_is_enough(category, slug):
    ProviderConfig.objects.update(enabled=False)
    assert ProviderConfig.objects.filter(category=category, name=slug).update(enabled=True) == 1

    answer = ask_as_json(category, "A quiet lake at dawn")

    assert (answer["status"], answer["provider"]) == ("COMPLETED", slug)
    assert list(answer["result"]) == ["text" if category is Category.TEXT else f"{category.lower()}Url"]


def test_a_broken_provider_is_followed_by_the_next(sandboxed):
    sandboxed.break_provider("replicate", "down")

    answer = ask_as_json("IMAGE", "A quiet lake")

    trail = [(attempt["provider"], attempt["error_class"]) for attempt in answer["attempts"]]
    assert trail == [("replicate", "ServerFault"), ("openai", None)]


def test_when_all_fail_one_clear_line_says_so_and_the_credits_are_released(sandboxed):
    for slug in ("elevenlabs", "replicate"):
        sandboxed.break_provider(slug, "down")

    with pytest.raises(CommandError, match=r"^Every provider failed; the credits are given back\. req_"):
        ask("AUDIO", "A quiet lake")

    assert Request.objects.get().status == "FAILED"


def test_a_job_whose_submission_was_cut_off_is_adopted_and_not_submitted_again(sandboxed, monkeypatch):
    sandboxed.break_provider("replicate", "cut")
    was_healed = False

    def heal_after_the_submission(*_: Any) -> float:
        nonlocal was_healed
        if not was_healed:
            sandboxed.heal()
            was_healed = True
        return 0

    monkeypatch.setattr("providers.chain.fallback.poll_delay_seconds", heal_after_the_submission)

    answer = ask_as_json("VIDEO", "A quiet lake")

    (line,) = sandboxed.billing.as_list()
    assert (answer["status"], len(answer["attempts"])) == ("COMPLETED", 1)
    assert Attempt.objects.get().job_id == line["job_id"]
