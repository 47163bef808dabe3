"""Media in a bucket of an S3-compatible store."""

from typing import Any

from botocore.config import Config
from django.conf import settings
from storages.backends.s3 import S3Storage

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
MAX_TRIES = 3


class S3MediaStorage(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """A private bucket behind our own addresses.

    A signed link of the store would have expired when somebody opens it from the list of requests, and a public one
    would show users' images to whoever guesses it. So the links lead to MediaView, which reads the bucket.
    """

    def __init__(self, *, endpoint_url: str | None = None, **options: Any) -> None:
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"total_max_attempts": MAX_TRIES, "mode": "standard"},
            # Most stores other than Amazon's support neither the checksums that the client sends by default nor a
            # host name for each bucket.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if endpoint_url else "auto"},
        )
        # Storing an output again must replace the first copy.
        super().__init__(endpoint_url=endpoint_url, client_config=config, file_overwrite=True, **options)

    def url(self, name: str, *args: Any, **kwargs: Any) -> str:
        return f"{settings.MEDIA_URL}{name}"
