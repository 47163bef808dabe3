"""Files inside of JSON: base64, and data URIs (RFC 2397)."""

import base64


def decode_base64(text: str) -> bytes:
    """Return what this base64 stands for, b"" where it is none. Line breaks in it are nothing."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return b""


def data_uri(content_type: str, content: bytes) -> str:
    """Return a file as a data URI."""
    return f"data:{content_type};base64,{base64.b64encode(content).decode()}"


def is_data_uri(text: str) -> bool:
    """Return whether this is a data URI of a file."""
    return text[:5].lower() == "data:" and ";base64," in text[:200]


def data_uri_content(text: str) -> bytes:
    """Return the file in a data URI, b"" where there is none."""
    return decode_base64(text.partition(",")[2]) if is_data_uri(text) else b""


def data_uri_type(text: str) -> str:
    """Return the content type that a data URI names, "" where it names none."""
    return text[5:].partition(";")[0].lower() if is_data_uri(text) else ""
