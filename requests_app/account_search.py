"""How operators find an account: by its key, by what other apps know of its user, and by a part of its name."""

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


def account_identified(words: str) -> Q:
    """Return the condition for the account with this key, or with this name in another app that nobody else has."""
    found = Q(key=words)
    for find in _finders:
        found |= find(words) or Q()
    return found


def accounts_named(words: str) -> Q:
    """Return the condition for the accounts with these words in their names; of one letter, for none."""
    if len(words) < MIN_NAME_CHARACTERS:
        return Q(pk__in=[])
    # SQLite knows only ASCII's capitals.
    spellings = set() if words.isascii() else {words.lower(), words.upper(), words.title()}
    named = Q(name__icontains=words)
    for spelling in spellings:
        named |= Q(name__contains=spelling)
    return named
