"""Fields of forms for what a column keeps as JSON: a box for each rate, and names with commas between them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.widgets import BASE_INPUT_CLASSES, UnfoldAdminTextInputWidget

from providers.json_field import TypedJSONFormField
from providers.pricing import ABOVE, MAX_COST_USD, RATES, TIERS, is_rate


@dataclass(frozen=True, slots=True)
class Box:
    """A box of a form: where the JSON keeps what is typed, and what people call it."""

    name: str
    label: str
    input_type: str = "text"


@dataclass(frozen=True, slots=True)
class ShownBox:
    """A box with its place in the form, and with what is in it."""

    box: Box
    html_name: str
    value: str


TOKENS = [
    Box("input_per_million", "1M input tokens"),
    Box("cached_input_per_million", "1M cached input tokens"),
    Box("cache_write_per_million", "1M tokens written to the cache"),
    Box("image_input_per_million", "1M tokens of input images"),
    Box("output_per_million", "1M output tokens"),
]
PRICES = [
    *TOKENS,
    Box("per_image", "An image"),
    Box("per_second", "A second of video or audio"),
    Box("per_thousand_characters", "1,000 characters"),
    Box("per_thousand_credits", "1,000 of the provider's credits"),
    Box("per_compute_second", "A second of its hardware"),
    Box("per_thousand_searches", "1,000 web searches"),
    Box("as_of", "As of", "date"),
    Box("source", "Read at"),
]
TIER = [Box(ABOVE, "Where the input is longer than"), *TOKENS]


class BoxesWidget(forms.Widget):
    """A box for each value of a JSON object; below them, where it has tiers, a row of boxes for each and one more.

    A field that is posted as a whole, as by a script, is taken as the JSON that it is.
    """

    def __init__(self, boxes: Sequence[Box], tier: Sequence[Box] = ()) -> None:
        super().__init__()
        self.boxes, self.tier = boxes, tier

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        if name in data or self.value_omitted_from_data(data, files, name):
            return data.get(name)
        typed: dict[str, Any] = _typed(data, name, self.boxes)
        tiers = [_with_number(row) for place in self._places(data, name) if (row := _typed(data, place, self.tier))]
        return json.dumps({**typed, **({TIERS: tiers} if tiers else {})})

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return name not in data and not any(f"{name}-{box.name}" in data for box in self.boxes)

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-{self.boxes[0].name}"

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        shown = _object(value)
        tiers = [tier for tier in shown.get(TIERS) or [] if isinstance(tier, dict)] if self.tier else []
        context = {
            "boxes": _shown(name, self.boxes, shown),
            "tiers": [
                _shown(f"{name}-{TIERS}-{place}", self.tier, tier)
                for place, tier in enumerate([*tiers, {}] if self.tier else [])
            ],
            "classes": " ".join(BASE_INPUT_CLASSES),
        }
        return SafeString(render_to_string("admin/providers/boxes.html", context))

    def _places(self, data: Mapping[str, Any], name: str) -> Iterator[str]:
        for number in count():
            place = f"{name}-{TIERS}-{number}"
            if not self.tier or not any(f"{place}-{box.name}" in data for box in self.tier):
                return
            yield place


def _typed(data: Mapping[str, Any], place: str, boxes: Sequence[Box]) -> dict[str, str]:
    return {box.name: text for box in boxes if (text := data.get(f"{place}-{box.name}", "").strip())}


def _with_number(row: dict[str, str]) -> dict[str, Any]:
    """Return a tier with its length as a number, where it is one."""
    length = row.get(ABOVE, "").replace(",", "")
    return {**row, ABOVE: int(length)} if length.isascii() and length.isdecimal() and len(length) < 10 else {**row}


def _shown(place: str, boxes: Sequence[Box], values: Mapping[str, Any]) -> list[ShownBox]:
    return [ShownBox(box, f"{place}-{box.name}", _text_in(box, values.get(box.name, ""))) for box in boxes]


def _text_in(box: Box, value: Any) -> str:
    text = str(value)
    if box.input_type == "date":
        with suppress(ValueError):
            return date.fromisoformat(text).isoformat()  # the only way of writing it that a browser shows
    return text


def _object(value: Any) -> dict[str, Any]:
    try:
        read = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


class RatesField(TypedJSONFormField):
    """A JSON object of rates, whose problems are told by the boxes' names."""

    def __init__(self, boxes: Sequence[Box], *, largest: Decimal, example: str, **kwargs: Any) -> None:
        self.rates = {box.name: box.label for box in boxes}
        self.largest, self.example = largest, example
        super().__init__(**{"required": False, "initial": dict, "widget": BoxesWidget(boxes)} | kwargs)

    def to_python(self, value: Any) -> Any:
        typed = super().to_python(value)
        if problems := [*self.problems(typed if isinstance(typed, dict) else {})]:
            raise ValidationError(problems)
        return typed

    def problems(self, rates: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is no rate. What is not even text was posted as JSON, and the column says what it lacks."""
        for name, value in rates.items():
            if name in self.rates and isinstance(value, str) and not is_rate(value, largest=self.largest):
                yield (
                    f'{self.rates[name]}: "{value}" is no price. Type {self.example}, with a point and without a sign, '
                    f"at most {self.largest:,}."
                )


class PricesField(RatesField):
    """What a route's calls cost in US dollars; see providers/pricing.py."""

    def __init__(self, **kwargs: Any) -> None:
        money = [box for box in PRICES if box.name in RATES]
        widget = BoxesWidget(PRICES, TIER)
        super().__init__(money, largest=MAX_COST_USD, example="US dollars such as 0.50", widget=widget, **kwargs)

    def problems(self, rates: Mapping[str, Any]) -> Iterator[str]:
        yield from super().problems(rates)
        tiers = rates.get(TIERS)
        for number, tier in enumerate(tiers if isinstance(tiers, list) else (), start=1):
            if isinstance(tier, dict):
                yield from (f"Longer inputs, row {number}: {problem}" for problem in self._problems_of(tier))

    def _problems_of(self, tier: Mapping[str, Any]) -> Iterator[str]:
        yield from super().problems(tier)
        if type(tier.get(ABOVE)) is not int or tier[ABOVE] <= 0:
            yield f'"{TIER[0].label}" takes a number of tokens above 0, such as 200000.'
        elif not tier.keys() - {ABOVE}:
            yield "Type its rates, or empty the row."


class NamesField(TypedJSONFormField):
    """A JSON list of names, typed with commas or spaces between them. What looks like JSON is taken as such."""

    def __init__(self, *, is_name: Callable[[str], bool], words: str, **kwargs: Any) -> None:
        self.is_name, self.words = is_name, words
        super().__init__(**{"required": False, "initial": list, "widget": UnfoldAdminTextInputWidget} | kwargs)

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str) or value.lstrip().startswith("["):
            return super().to_python(value)
        names = list(dict.fromkeys(name for name in re.split(r"[,\s]+", value) if name))
        wrong = [name for name in names if not self.is_name(name)]
        if wrong:
            raise ValidationError(f'"{wrong[0]}" {self.words}')
        return names

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value
