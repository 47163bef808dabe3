"""Every registered provider is tested: no list of providers is kept by hand."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from providers.registry import PROVIDERS, label_of
from providers.types import Category
from tests.contracts.base import ProviderContract
from tests.contracts.text import SAMPLES

FOLDER = Path(__file__).parent
REGISTERED = [(category, slug) for slug, spec in PROVIDERS.items() for category in spec.backends]
SAMPLE_NAMES = ("answer", "stream", "stream_error", "refusal", "blank")


def contract_classes() -> Iterator[type[ProviderContract]]:
    """Yield the test classes of this folder that are built on a contract."""
    for path in sorted(FOLDER.glob("test_*.py")):
        if "ProviderContract" not in path.read_text(encoding="utf-8"):
            continue
        for name, value in vars(import_module(f"tests.providers.{path.stem}")).items():
            if name.startswith("Test") and isinstance(value, type) and issubclass(value, ProviderContract):
                yield value


TESTED = {(contract.category, contract.slug): contract for contract in contract_classes()}


@pytest.mark.parametrize(("category", "slug"), REGISTERED)
def test_every_provider_runs_the_contract_of_its_category(category: Category, slug: str) -> None:
    assert (category, slug) in TESTED, (
        f"No test class runs the contract for {category} of {label_of(slug)}. "
        f'Add tests/providers/test_{slug}.py with a class on one of tests/contracts and `slug = "{slug}"`.'
    )
    folder, class_path = TESTED[category, slug].backend(), PROVIDERS[slug].backends[category]
    assert f"{folder.__module__}.{folder.__name__}" == class_path


def test_every_contract_class_tests_a_registered_provider() -> None:
    assert set(TESTED) - set(REGISTERED) == {
        *((category, "template") for category in ("TEXT", "IMAGE", "VIDEO")),
        (Category.TEXT, "local-llm"),  # of OPENAI_COMPATIBLE
    }


@pytest.mark.parametrize("slug", [slug for category, slug in REGISTERED if category is Category.TEXT])
def test_every_text_provider_has_its_samples(slug: str) -> None:
    missing = [name for name in SAMPLE_NAMES if not (SAMPLES / slug / f"{name}.json").exists()]
    assert missing == [], f"tests/samples/{slug} lacks them; tests/samples/README.md says what they are."


def test_every_folder_of_samples_belongs_to_a_text_provider() -> None:
    text_providers = {slug for category, slug in REGISTERED if category is Category.TEXT}
    assert {path.name for path in SAMPLES.iterdir() if path.is_dir()} == text_providers


def test_no_two_providers_share_a_variable() -> None:
    variables = [name for spec in PROVIDERS.values() for name in (spec.key_variable, spec.base_url_variable)]
    assert len(set(variables)) == len(variables)
