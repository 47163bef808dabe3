"""Prompt caching for the models that want to be told what to keep: Claude's. Others cache by themselves.

Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching (read 2026-11).
"""

from typing import Any

CACHED_FROM_CHARACTERS = 16_000  # some 4,000 tokens; nothing that is much shorter is kept


def cached_where_long(system: str) -> str | list[dict[str, Any]]:
    """Return a system prompt as these models take it, marked to be kept where it is long enough.

    All conversations begin with it, so it is read at a tenth of its price as long as one comes every five minutes. To
    keep more would cost more: what follows changes as the oldest turns of a conversation are left out.
    """
    if len(system) < CACHED_FROM_CHARACTERS:
        return system
    return [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
