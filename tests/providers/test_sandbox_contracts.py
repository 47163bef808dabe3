"""What the sandbox says has the form that each vendor's own contract tells: answers, streams, errors, catalogues."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from providers.sandbox import Sandbox, running_sandbox
from providers.sandbox.vendors.text_vendors import TEXT_VENDORS
from tests.contracts.openapi import STREAM, Contract, contract_of

# Where the vendor's document begins its paths: below the version, or above it.
PREFIXES = {"openrouter": "/api/v1", "openai": "/v1", "groq": "/openai/v1"}
# Groq publishes no document of its own, but that it has OpenAI's shape.
DOCUMENTS = {"groq": "openai"}
# PiAPI's document has no catalogue.
WITH_CATALOGUE = [slug for slug in TEXT_VENDORS if slug != "piapi"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


def headers_of(slug: str, key: str = "") -> dict[str, str]:
    key = key or f"sandbox-key-{slug}"
    return {"x-api-key": key, "Authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}


def body_of(slug: str, **fields: Any) -> dict[str, Any]:
    limit = {"max_tokens": 500} if slug in ("anthropic", "aimlapi", "piapi") else {"max_completion_tokens": 500}
    model = TEXT_VENDORS[slug].models[0]
    return {"model": model, "messages": [{"role": "user", "content": "Say hello"}], **limit, **fields}


def ask(sandbox: Sandbox, slug: str, *, key: str = "", **fields: Any) -> requests.Response:
    url = f"{sandbox.url}/{slug}{TEXT_VENDORS[slug].chat_path}"
    return requests.post(url, json=body_of(slug, **fields), headers=headers_of(slug, key), timeout=10)


def document_of(slug: str) -> Contract:
    return contract_of(DOCUMENTS.get(slug, slug))


def path_of(slug: str, path: str) -> str:
    return path.removeprefix(PREFIXES.get(slug, ""))


@pytest.mark.parametrize("slug", TEXT_VENDORS)
def test_an_answer_keeps_the_vendors_contract(sandbox, slug):
    response = ask(sandbox, slug)

    path = path_of(slug, TEXT_VENDORS[slug].chat_path)
    assert document_of(slug).response_errors("POST", path, response.status_code, response.json()) == []


@pytest.mark.parametrize("slug", TEXT_VENDORS)
def test_every_event_of_a_stream_keeps_the_vendors_contract(sandbox, slug):
    response = ask(sandbox, slug, stream=True)

    events = [line.removeprefix("data: ") for line in response.content.decode().splitlines() if line[:5] == "data:"]
    bodies = [json.loads(event) for event in events if event != "[DONE]"]
    path = path_of(slug, TEXT_VENDORS[slug].chat_path)
    assert len(bodies) > 10
    for body in bodies:
        if body.get("type") == "ping":
            continue  # documented in words only
        if slug == "aimlapi" and body["choices"] and body["choices"][0]["finish_reason"] is None:
            body["choices"][0]["finish_reason"] = "stop"  # its document forgets that there is no reason before the end
        if slug == "openrouter":
            body = {"data": body}  # its document describes the event, with the chunk as its data
        assert document_of(slug).response_errors("POST", path, 200, body, STREAM) == []


@pytest.mark.parametrize("fault", ["down", "429", "bad-key"])
@pytest.mark.parametrize("slug", TEXT_VENDORS)
def test_an_error_keeps_the_vendors_contract(sandbox, slug, fault):
    sandbox.break_provider(slug, fault)
    try:
        response = ask(sandbox, slug)
    finally:
        sandbox.heal(slug)

    path = path_of(slug, TEXT_VENDORS[slug].chat_path)
    contract = document_of(slug)
    # Some documents list only the errors of the caller. All errors of a vendor have one form.
    status = response.status_code if contract.has_response("POST", path, response.status_code) else 429
    assert contract.response_errors("POST", path, status, response.json()) == []


@pytest.mark.parametrize("slug", WITH_CATALOGUE)
def test_the_catalogue_keeps_the_vendors_contract(sandbox, slug):
    path = TEXT_VENDORS[slug].models_path
    response = requests.get(f"{sandbox.url}/{slug}{path}", headers=headers_of(slug), timeout=10)

    assert document_of(slug).response_errors("GET", path_of(slug, path), 200, response.json()) == []
