"""Forms with files (multipart/form-data), as browsers send them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from providers.types import FormFile


def encode_form(fields: Mapping[str, Any], files: Sequence[FormFile]) -> tuple[bytes, str]:
    """Return the body of a form and its content type. Texts go as they are, other values as JSON, the files last."""
    parts = []
    for name, value in fields.items():
        part = RequestField(name, value if isinstance(value, str) else json.dumps(value))
        part.make_multipart()
        parts.append(part)
    for file in files:
        part = RequestField(file.field_name, file.content, filename=file.name)
        part.make_multipart(content_type=file.content_type)
        parts.append(part)
    return encode_multipart_formdata(parts)
