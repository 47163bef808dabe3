"""Generated media: fetched from the provider at once, checked, and stored before anything else happens."""

import time

from providers.backends.media_generation import MediaProvider
from providers.db import give_back_connection
from providers.errors import NotStored
from providers.storage import StoredMedia, store_output
from providers.transport.deadlines import Deadline
from providers.types import Category, MediaResult

PAUSES_SECONDS = (0.5, 2.0)  # between tries to store an output


def output_store(
    *, provider: MediaProvider, category: Category, result: MediaResult, key: str, deadline: Deadline
) -> StoredMedia:
    """Fetch an output where it came as an address, and store it under a name made of `key`. Idempotent.

    No database connection is held meanwhile. Raises a ProviderError: NotStored where our own storage fails.
    """
    give_back_connection()
    content = result.content or provider.fetch_output(result.url, deadline=deadline)
    pauses = iter(PAUSES_SECONDS)
    while True:
        try:
            return store_output(category=category, content=content, key=key)
        except NotStored as error:
            # It is paid for, and these bytes may be all there is of it.
            pause = next(pauses, None)
            if pause is None or deadline.remaining() < pause:
                error.complete(provider=provider.slug, usage=result.usage)
                raise
            time.sleep(pause)
