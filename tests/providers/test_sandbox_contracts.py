"""What the sandbox answers keeps each vendor's own contract: answers, streams, errors, catalogues."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from providers.registry import provider_class
from providers.sandbox import Sandbox, running_sandbox
from providers.types import Category
from tests.contracts.openapi import STREAM, Contract, contract_of, has_contract
from tests.sandboxes import SHIPPED, TEXT_SLUGS

# Where the vendor's document begins its paths: below the version, or above it.
PREFIXES = {"openrouter": "/api/v1", "openai": "/v1", "groq": "/openai/v1"}
# Groq publishes no document of its own, but that it has OpenAI's shape.
DOCUMENTS = {"groq": "openai"}
# PiAPI's document has no catalogue.
WITH_CATALOGUE = [slug for slug in TEXT_SLUGS if slug != "piapi"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def contract(slug: str) -> Contract:
    document = DOCUMENTS.get(slug, slug)
    if not has_contract(document):
        pytest.skip(f"{slug} publishes no OpenAPI document")
    return contract_of(document)


def headers_of(slug: str, key: str = "") -> dict[str, str]:
    key = key or f"sandbox-key-{slug}"
    return {"x-api-key": key, "Authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}


def body_of(slug: str, **fields: Any) -> dict[str, Any]:
    limit = getattr(provider_class(Category.TEXT, slug), "max_tokens_field", "max_tokens")
    return {
        "model": SHIPPED[Category.TEXT, slug],
        "messages": [{"role": "user", "content": "Say hello"}],
        limit: 500,
        **fields,
    }


def ask(sandbox: Sandbox, slug: str, *, key: str = "", **fields: Any) -> requests.Response:
    url = f"{sandbox.url}/{slug}{sandbox.vendors[slug].chat_path}"
    return requests.post(url, json=body_of(slug, **fields), headers=headers_of(slug, key), timeout=10)


def path_of(slug: str, path: str) -> str:
    return path.removeprefix(PREFIXES.get(slug, ""))


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_an_answer_keeps_the_vendors_contract(sandbox, contract, slug):
    response = ask(sandbox, slug)

    path = path_of(slug, sandbox.vendors[slug].chat_path)
    assert contract.response_errors("POST", path, response.status_code, response.json()) == []


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_every_event_of_a_stream_keeps_the_vendors_contract(sandbox, contract, slug):
    response = ask(sandbox, slug, stream=True)

    events = [line.removeprefix("data: ") for line in response.content.decode().splitlines() if line[:5] == "data:"]
    bodies = [json.loads(event) for event in events if event != "[DONE]"]
    path = path_of(slug, sandbox.vendors[slug].chat_path)
    assert len(bodies) > 10
    for body in bodies:
        if body.get("type") == "ping":
            continue  # documented in words only
        if slug == "aimlapi" and body["choices"] and body["choices"][0]["finish_reason"] is None:
            body["choices"][0]["finish_reason"] = "stop"  # its document forgets that there is no reason before the end
        if slug == "openrouter":
            body = {"data": body}  # its document describes the event, with the chunk as its data
        assert contract.response_errors("POST", path, 200, body, STREAM) == []


@pytest.mark.parametrize("fault", ["down", "429", "bad-key"])
@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_an_error_keeps_the_vendors_contract(sandbox, contract, slug, fault):
    sandbox.break_provider(slug, fault)
    try:
        response = ask(sandbox, slug)
    finally:
        sandbox.heal(slug)

    path = path_of(slug, sandbox.vendors[slug].chat_path)
    # Some documents list only the errors of the caller. All errors of a vendor have one form.
    status = response.status_code if contract.has_response("POST", path, response.status_code) else 429
    assert contract.response_errors("POST", path, status, response.json()) == []


@pytest.mark.parametrize("slug", WITH_CATALOGUE)
def test_the_catalogue_keeps_the_vendors_contract(sandbox, contract, slug):
    path = sandbox.vendors[slug].models_path
    response = requests.get(f"{sandbox.url}/{slug}{path}", headers=headers_of(slug), timeout=10)

    assert contract.response_errors("GET", path_of(slug, path), 200, response.json()) == []
