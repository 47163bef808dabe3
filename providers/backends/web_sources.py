"""Where an answer has found on the web what it says: links below it, for those that are not in its text."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from providers.transport.json_fields import text_at

MAX_SOURCES = 5
MAX_TITLE_CHARACTERS = 80
_UNSAFE = re.compile(r"[\[\]()<>*_`~|\\\s]+")  # in a link's text they would be markup


def with_sources(text: str, citations: Iterable[Any]) -> str:
    """Return the text with a line for each web page that is cited and not linked to in it.

    A citation is an object with `url` and `title`, as OpenAI and Anthropic give it.
    """
    sources: dict[str, str] = {}
    for citation in citations:
        url = text_at(citation, "url")
        if re.fullmatch(r"https?://[^\s()<>]+", url) and url not in text:
            sources.setdefault(url, _UNSAFE.sub(" ", text_at(citation, "title")).strip()[:MAX_TITLE_CHARACTERS])
    lines = [f"🔗 [{title or url}]({url})" for url, title in list(sources.items())[:MAX_SOURCES]]
    return f"{text.rstrip()}\n\n{chr(10).join(lines)}" if lines and text.strip() else text


def url_citations(annotations: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Return the citations of web pages among a message's annotations, flat or one level deeper."""
    found = []
    for annotation in annotations:
        if text_at(annotation, "type") == "url_citation":
            deeper = annotation.get("url_citation")
            found.append(deeper if isinstance(deeper, Mapping) else annotation)
    return found
