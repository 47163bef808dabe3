"""What a new provider must not forget: each test says what is missing and where it goes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.registry import PROVIDERS, provider_class
from providers.sandbox import Sandbox, running_sandbox
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Prompt
from tests.sandboxes import SHIPPED
from tests.security.canaries import ADMIN_KEYS, CALLBACK_SECRETS, CHAINS, KEYS

ROOT = Path(__file__).resolve().parent.parent.parent
BACKENDS = [(category, slug) for slug, spec in PROVIDERS.items() for category in spec.backends]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(video_seconds=0) as sandbox:
        yield sandbox


@pytest.mark.parametrize("slug", PROVIDERS)
def test_env_example_has_its_two_lines(slug):
    lines = (ROOT / ".env.example").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}
    spec = PROVIDERS[slug]
    for variable in (spec.key_variable, spec.base_url_variable):
        assert variable in names, f".env.example lacks the line `{variable}=` of {spec.label}, under Providers"


@pytest.mark.parametrize("slug", PROVIDERS)
def test_the_readme_names_its_key_among_the_variables(slug):
    variable = PROVIDERS[slug].key_variable
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert any(f"`{variable}`" in row for row in rows), (
        f"README.md lacks `{variable}` in the row of the providers' keys, under Configuration"
    )


@pytest.mark.parametrize(("category", "slug"), BACKENDS)
def test_a_route_is_shipped_in_each_of_its_categories(category, slug):
    assert slug in CHAINS[category], (
        f"providers/shipped.py has no route of {slug} in {category}: add one, disabled if need be. The canary tests "
        "take their chains from there"
    )


@pytest.mark.parametrize(("category", "slug"), BACKENDS)
def test_the_sandbox_answers_in_its_place(category: Category, slug: str, sandbox: Sandbox):
    spec = PROVIDERS[slug]
    provider = provider_class(category, slug)(Access(f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{spec.base_path}"))
    prompt = Prompt(category, "A quiet lake at dawn", model=SHIPPED.get((category.value, slug), "no-shipped-model"))
    try:
        provider.run(prompt, timeout_seconds=10, deadline=Deadline.after(10))
    except Exception as error:  # noqa: BLE001 — whatever it is, the sentence says what to do
        pytest.fail(
            f"The sandbox does not answer as {slug} for {category} ({type(error).__name__}: {error}): add its stand-in "
            "under providers/sandbox/vendors/ and to providers/sandbox/registry.py"
        )


def test_the_secrets_of_every_provider_are_redacted(tmp_path):
    keys = {spec.key_variable: KEYS[slug] for slug, spec in PROVIDERS.items()}
    callbacks = {
        spec.callback.secret_variable: CALLBACK_SECRETS[slug] for slug, spec in PROVIDERS.items() if spec.callback
    }
    admin_keys = {PROVIDERS[slug].account.admin_variable: key for slug, key in ADMIN_KEYS.items()}
    outcome = subprocess.run(
        [sys.executable, "-c", "from django.conf import settings; print(*settings.SECRETS, sep='\\n')"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "aibot.settings",
            "ENV_FILE": os.devnull,
            "DATA_DIR": str(tmp_path),
            "SECRET_KEY": "canary-of-the-secret-key",
            **keys,
            **callbacks,
            **admin_keys,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    missing = {
        name
        for name, secret in {**keys, **callbacks, **admin_keys}.items()
        if secret not in outcome.stdout.splitlines()
    }
    assert not missing, f"settings.SECRETS lacks {', '.join(sorted(missing))}, so logs would show them"
