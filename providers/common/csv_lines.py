"""Rows as CSV, which somebody opens in a spreadsheet."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

# A spreadsheet runs what begins like this as a formula, also after blanks, and also in full width.
FORMULA_BEGINNINGS = tuple(
    "=+-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)


class _Line:
    """A file for csv.writer that hands each line on."""

    def write(self, line: str) -> str:
        return line


def csv_lines(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the heading and a line for each row.

    What is unknown is an empty cell, numbers are plain, and no text is a formula: such a one begins with an apostrophe.
    """
    writer = csv.writer(_Line())
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow([_cell(row.get(name)) for name in names])


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{Decimal(repr(value)):f}"  # 0.0000015, not 1.5e-06
        case Decimal():
            return f"{value.normalize():f}"
        case int() | date():
            return str(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    is_formula = text.lstrip().startswith(FORMULA_BEGINNINGS) or text.startswith(("\t", "\r", "\n"))
    return f"'{text}" if is_formula else text
