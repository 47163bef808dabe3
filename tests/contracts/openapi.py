"""The vendors' machine-readable contracts: do our requests, and the sandbox's answers, have the form they tell?"""

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
    """One vendor's OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def request_faults(self, method: str, path: str, body: Any) -> list[str]:
        """Return what is wrong with a request's body; nothing is as it should be."""
        return self._faults(self._follow(self._operation(method, path)["requestBody"])["content"][JSON]["schema"], body)

    def response_faults(self, method: str, path: str, status: int, body: Any, content_type: str = JSON) -> list[str]:
        """Return what is wrong with a response's body, or with one event of a stream."""
        responses = self._operation(method, path)["responses"]
        response = responses.get(str(status)) or responses.get(f"{str(status)[0]}XX")
        if response is None:
            return [f"status {status} is not in the contract"]
        return self._faults(self._follow(response)["content"][content_type]["schema"], body)

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

    def _faults(self, schema: dict[str, Any], body: Any) -> list[str]:
        # The components travel along, so that references from the root find them.
        validator = Draft202012Validator({**schema, "components": self.document.get("components", {})})
        return [f"{'.'.join(map(str, error.path))}: {error.message[:300]}" for error in validator.iter_errors(body)]


@cache
def contract_of(slug: str) -> Contract:
    """Return the vendor's contract; skip the test where CONTRACTS_DIR does not lead to one."""
    folder = os.environ.get("CONTRACTS_DIR")
    if not folder:
        pytest.skip("CONTRACTS_DIR is not set; it leads to the vendors' OpenAPI documents")
    path = Path(folder) / f"{slug}.openapi.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Contract(_with_nulls(yaml.load(path.read_text(encoding="utf-8"), loader)))  # noqa: S506 — a safe loader


def _with_nulls(node: Any) -> Any:
    """Say `nullable: true`, as OpenAPI 3.0 has it, in the words of JSON Schema."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {name: _with_nulls(value) for name, value in node.items()}
    if schema.pop("nullable", None) is True:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema
