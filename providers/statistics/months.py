"""How a period is put together out of months and days, where sums are kept by both. Values only."""

from dataclasses import dataclass
from datetime import date

from providers.statistics.day_cuts import DAY


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days that follow each other, or months: their sums belong to a period, or are to be taken off."""

    first: date
    last: date  # included; of months its first day
    are_months: bool = False
    sign: int = 1


def month_of(day: date) -> date:
    """Return the first day of a day's month."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """Return the first day of the month after that of a day."""
    return month_of(month_of(day) + 31 * DAY)


def stretches(first: date, last: date, *, newest: date) -> list[Stretch]:
    """Return the months and days whose sums, with their signs, are those of a period; of days as few as possible.

    No row is of a later day than `newest`: with it a month is whole.
    """
    last = min(last, newest)
    begin, end = month_of(first), min(next_month(last) - DAY, newest)
    is_of_one_month = begin == month_of(last)
    if is_of_one_month and (last - first).days < (first - begin).days + (end - last).days:
        return [Stretch(first, last)]
    parts = []
    if first > begin:
        if not is_of_one_month and (next_month(first) - first) < (first - begin):
            parts.append(Stretch(first, next_month(first) - DAY))
            begin = next_month(first)
        else:
            parts.append(Stretch(begin, first - DAY, sign=-1))
    if last < end:
        if not is_of_one_month and last - month_of(last) < end - last:
            parts.append(Stretch(month_of(last), last))
            end = month_of(last) - DAY
        else:
            parts.append(Stretch(last + DAY, end, sign=-1))
    return [*([Stretch(begin, month_of(end), are_months=True)] if begin <= end else []), *parts]
