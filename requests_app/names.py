"""Names of users as they are searched."""

import unicodedata

MAX_FOLDED_CHARACTERS = 256  # of a name; folded it may be longer than written
# What Unicode takes for letters of their own, and people type without their strokes.
UNDECOMPOSED = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})


def folded(name: str) -> str:
    """Return a name as it is searched: without capitals, accents and further spaces."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")
    # Together again, since a Korean syllable is decomposed, too.
    return " ".join(unicodedata.normalize("NFC", letters).translate(UNDECOMPOSED).split())[:MAX_FOLDED_CHARACTERS]
