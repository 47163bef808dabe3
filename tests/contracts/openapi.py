"""The providers' OpenAPI documents: do our requests, our samples and the sandbox's answers have the form they state?"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

JSON = "application/json"
STREAM = "text/event-stream"


class Contract:
    """One provider's OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def request_errors(self, method: str, path: str, body: Any) -> list[str]:
        """Return what is invalid in a request's body; empty where nothing is."""
        return self._errors(self._follow(self._operation(method, path)["requestBody"])["content"][JSON]["schema"], body)

    def response_errors(self, method: str, path: str, status: int, body: Any, content_type: str = JSON) -> list[str]:
        """Return what is invalid in a response's body, or in one event of a stream; empty where nothing is."""
        responses = self._operation(method, path)["responses"]
        response = responses.get(str(status)) or responses.get(f"{str(status)[0]}XX")
        if response is None:
            return [f"status {status} is not in the document"]
        return self._errors(self._follow(response)["content"][content_type]["schema"], body)

    def has_response(self, method: str, path: str, status: int) -> bool:
        responses = self._operation(method, path)["responses"]
        return str(status) in responses or f"{str(status)[0]}XX" in responses

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        return self.document["paths"][path][method.lower()]

    def _follow(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            found: Any = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def _errors(self, schema: dict[str, Any], body: Any) -> list[str]:
        # The components go along, so that references from the root are resolved.
        validator = Draft202012Validator({**schema, "components": self.document.get("components", {})})
        return [f"{'.'.join(map(str, error.path))}: {error.message[:300]}" for error in validator.iter_errors(body)]


def has_contract(slug: str) -> bool:
    """Return whether the provider publishes an OpenAPI document. Skips the test where CONTRACTS_DIR is not set."""
    return _path_of(slug).exists()


@cache
def contract_of(slug: str) -> Contract:
    """Return the provider's OpenAPI document. Skips the test where CONTRACTS_DIR is not set."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(_path_of(slug).read_text(encoding="utf-8"), loader)  # noqa: S506 — a safe loader
    return Contract(_with_nulls(document))


def _path_of(slug: str) -> Path:
    folder = os.environ.get("CONTRACTS_DIR")
    if not folder:
        pytest.skip("CONTRACTS_DIR is not set: the providers' OpenAPI documents are not part of this repository")
    return Path(folder) / f"{slug}.openapi.yaml"


def _with_nulls(node: Any) -> Any:
    """Write OpenAPI 3.0's `nullable: true` as JSON Schema does."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {name: _with_nulls(value) for name, value in node.items()}
    if schema.pop("nullable", None) is True:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema
