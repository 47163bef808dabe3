"""How operators find an account: by its key, by what other apps know of its user, and by parts of its name."""

from collections.abc import Callable

from django.db.models import Q, QuerySet

from requests_app.models import Account
from requests_app.names import folded

Finder = Callable[[str], Q | None]

_finders: list[Finder] = []


def account_finder(find: Finder) -> Finder:
    """Register what finds accounts by other words than their keys: it returns a condition on Account, or None."""
    if find not in _finders:
        _finders.append(find)
    return find


def accounts_named(words: str) -> Q:
    """Return the condition for the accounts with all of these parts in their names, in whichever order.

    A single letter of an alphabet is in too many of them; a single character of another script is a name.
    """
    parts = folded(words).split()
    if all(len(part) == 1 and part.isascii() for part in parts):
        return Q(pk__in=[])
    named = Q()
    for part in parts:
        named &= Q(folded_name__contains=part)
    return named


def account_keys(accounts: QuerySet[Account], words: str, *, at_most: int) -> list[int]:
    """Return the keys of those that the words identify; where they identify none, of those called so, newest first."""
    # One by one: a single condition over several tables would read all accounts instead of an index of each.
    conditions = [Q(key=words), *(find(words) for find in _finders)]
    identified = [key for meant in conditions if meant for key in accounts.filter(meant).values_list("pk", flat=True)]
    named = accounts.filter(accounts_named(words)).order_by("-pk").values_list("pk", flat=True)
    return identified[:at_most] or list(named[:at_most])
