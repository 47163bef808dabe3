"""Forms with files (multipart/form-data), as browsers send them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from providers.types import FormFile


def encode_form(fields: Mapping[str, Any], files: Sequence[FormFile]) -> tuple[bytes, str]:
    """Return the body of a form and its content type, the files last.

    Texts go as they are, a list as one field "name[]" for each item, nothing where there is null, the rest as JSON.
    """
    parts = []
    for name, value in fields.items():
        items = [(f"{name}[]", item) for item in value] if isinstance(value, list) else [(name, value)]
        for field, item in items:
            if item is not None:
                part = RequestField(field, item if isinstance(item, str) else json.dumps(item))
                part.make_multipart()
                parts.append(part)
    for file in files:
        part = RequestField(file.field_name, file.content, filename=file.name)
        part.make_multipart(content_type=file.content_type)
        parts.append(part)
    return encode_multipart_formdata(parts)
