"""What a browser sends when somebody presses *Save* on a page of the admin: its fields as the page shows them."""

from html.parser import HTMLParser
from typing import Any

TEXTS = ("text", "number", "hidden", "email", "url", "date")


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.open: str = ""  # the field whose content follows
        self.is_within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: dict[str, Any] = dict(attrs)
        name = given.get("name", "")
        if tag == "form":
            self.is_within = given.get("method") == "post" and given.get("id") != "logout-form"
        if not self.is_within:
            return
        if tag == "input" and (given.get("type") in TEXTS or (given.get("type") == "checkbox" and "checked" in given)):
            self.values[name] = given.get("value") or ("on" if given["type"] == "checkbox" else "")
        elif tag in ("select", "textarea"):
            self.open = name
            self.values.setdefault(name, "")
        elif tag == "option" and "selected" in given:
            self.values[self.open] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("select", "textarea"):
            self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open and self.lasttag == "textarea":
            self.values[self.open] += data.removeprefix("\n")


def fields_of(page: str) -> dict[str, str]:
    """Return the fields of a page's form, by name."""
    parser = _Fields()
    parser.feed(page)
    return {name: value for name, value in parser.values.items() if name}
