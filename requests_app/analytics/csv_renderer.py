"""The figures as CSV, for spreadsheets."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BaseRenderer

# What a spreadsheet takes for the begin of a formula. Names of routes, AI models and users are anybody's text.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


class CSVRenderer(BaseRenderer):
    """Writes the rows of an answer; of a refusal its words."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> str:
        rows = data.get("rows", [data])
        columns = data["columns"] if "columns" in data else list(rows[0])
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
        return text.getvalue()


def _cell(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula; numbers stay numbers, what is unknown stays empty."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
