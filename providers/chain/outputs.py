"""Generated media: fetched from the provider at once, checked, and stored before anything else happens."""

from providers.backends.media_generation import MediaProvider
from providers.db import give_back_connection
from providers.errors import NotStored
from providers.storage import StoredMedia, store_output
from providers.transport.deadlines import Deadline
from providers.types import Category, MediaResult


def output_store(
    *, provider: MediaProvider, category: Category, result: MediaResult, key: str, deadline: Deadline
) -> StoredMedia:
    """Fetch an output where it came as an address, and store it under a name made of `key`. Idempotent.

    No database connection is held meanwhile. Raises a ProviderError: NotStored where our own storage fails.
    """
    give_back_connection()
    content = result.content or provider.fetch_output(result.url, deadline=deadline)
    try:
        return store_output(category=category, content=content, key=key)
    except NotStored as error:
        error.complete(provider=provider.slug, usage=result.usage)
        raise
