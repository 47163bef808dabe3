"""How operators find an account: by its key, by a part of its name, and by what other apps know of its user."""

from collections.abc import Callable

from django.db.models import Q

Finder = Callable[[str], Q | None]

MIN_NAME_CHARACTERS = 2

_finders: list[Finder] = []


def account_finder(find: Finder) -> Finder:
    """Register what finds accounts by other words than their keys: it returns a condition on Account, or None."""
    if find not in _finders:
        _finders.append(find)
    return find


def accounts_called(words: str) -> Q:
    """Return the condition for the accounts that an operator may mean."""
    words = words.strip()
    found = Q(key=words)
    if len(words) >= MIN_NAME_CHARACTERS:
        found |= Q(name__icontains=words)
    for find in _finders:
        found |= find(words) or Q()
    return found
