"""Our requests and our samples against the vendors' machine-readable contracts, where these are at hand."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from providers.registry import PROVIDERS, provider_class
from providers.types import Access, Attachment, Category, Prompt, Turn
from tests.contracts.text import sample

TEXT_VENDORS = [slug for slug, vendor in PROVIDERS.items() if Category.TEXT in vendor.backends]
MODELS = {"aimlapi": "deepseek/deepseek-v4-flash", "anthropic": "claude-haiku-5-5"}
PATHS = {"anthropic": "/v1/messages", "openai": "/chat/completions", "openrouter": "/chat/completions"}


@pytest.fixture(scope="module")
def contracts() -> Path:
    """The folder with <vendor>.openapi.yaml."""
    folder = os.environ.get("CONTRACTS_DIR")
    if not folder:
        pytest.skip("CONTRACTS_DIR is not set: the vendors' contracts are not part of this repository")
    return Path(folder)


def load(contracts: Path, vendor: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the whole document, in today's JSON Schema, and its operation for text."""
    if not (contracts / f"{vendor}.openapi.yaml").exists():
        pytest.skip("the vendor publishes no such document")
    document = _modern(yaml.load((contracts / f"{vendor}.openapi.yaml").read_text(), yaml.CSafeLoader))
    return document, document["paths"][PATHS.get(vendor, "/v1/chat/completions")]["post"]


def _modern(node: Any) -> Any:
    """Say `nullable: true` of OpenAPI 3.0 as JSON Schema does."""
    if isinstance(node, list):
        return [_modern(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {name: _modern(item) for name, item in node.items()}
    if node.pop("nullable", None) is True:
        return {"anyOf": [node, {"type": "null"}]}
    return node


def complaints(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    validator = Draft202012Validator({**schema, "components": document["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def media_schema(operation: dict[str, Any], content_type: str) -> dict[str, Any]:
    schema: dict[str, Any] = operation["responses"]["200"]["content"][content_type]["schema"]
    return schema


def assert_obeys(contracts: Path, vendor: str, **fields: Any) -> None:
    provider = provider_class(Category.TEXT, vendor)(Access("key", "https://example.com"))
    prompt = Prompt(Category.TEXT, "And of Peru?", model=MODELS.get(vendor, "some-model"), **fields)
    provider.check(prompt)
    document, operation = load(contracts, vendor)
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    for stream in (True, False):
        assert complaints(document, schema, provider.build(prompt, stream=stream).json) == []


@pytest.mark.parametrize("vendor", TEXT_VENDORS)
def test_our_requests_obey(contracts: Path, vendor: str) -> None:
    history = (Turn("user", "The capital of Chile?"), Turn("assistant", "Santiago."))
    assert_obeys(contracts, vendor)
    assert_obeys(contracts, vendor, history=history, system="Be brief.", max_output_tokens=900)


@pytest.mark.parametrize("vendor", ["openrouter", "openai", "anthropic", "xai"])
def test_our_requests_with_a_picture_obey(contracts: Path, vendor: str) -> None:
    assert_obeys(contracts, vendor, attachments=(Attachment("image/png", b"?"),))


@pytest.mark.parametrize("vendor", TEXT_VENDORS)
def test_the_schema_would_notice(contracts: Path, vendor: str) -> None:
    document, operation = load(contracts, vendor)
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert complaints(document, schema, {"model": "some-model", "messages": "none"})


@pytest.mark.parametrize("vendor", TEXT_VENDORS)
@pytest.mark.parametrize("name", ["answer", "refusal", "blank"])
def test_our_sample_answers_obey(contracts: Path, vendor: str, name: str) -> None:
    document, operation = load(contracts, vendor)
    assert complaints(document, media_schema(operation, "application/json"), sample(vendor, name)) == []


@pytest.mark.parametrize("vendor", [vendor for vendor in TEXT_VENDORS if vendor != "aimlapi"])  # has no chunk schema
def test_our_sample_streams_obey(contracts: Path, vendor: str) -> None:
    document, operation = load(contracts, vendor)
    schema = media_schema(operation, "text/event-stream")
    chunks = [event for event in sample(vendor, "stream") if not isinstance(event, str)]
    if vendor == "openrouter":  # its schema describes the event around the chunk
        chunks = [{"data": chunk} for chunk in chunks]
    for chunk in chunks:
        assert complaints(document, schema, chunk) == [], chunk
