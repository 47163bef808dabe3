"""Who is in the sandbox, in the order of the product's own directory."""

from collections.abc import Mapping

from providers.sandbox.callbacks import Callbacks
from providers.sandbox.jobs import Clock
from providers.sandbox.pictures import OpenAIWithPictures
from providers.sandbox.replicate import Replicate
from providers.sandbox.speech import ElevenLabs
from providers.sandbox.vendors import TEXT_VENDORS
from providers.sandbox.wire import Vendor

SLUGS = (*TEXT_VENDORS, Replicate.slug, ElevenLabs.slug)


def make_vendors(
    *, film_seconds: float, quick_seconds: float, clock: Clock, callbacks: Callbacks
) -> Mapping[str, Vendor]:
    """Return the vendors of one sandbox: some of them remember what was ordered."""
    return {
        **TEXT_VENDORS,
        OpenAIWithPictures.slug: OpenAIWithPictures(),
        Replicate.slug: Replicate(
            film_seconds=film_seconds, quick_seconds=quick_seconds, clock=clock, callbacks=callbacks
        ),
        ElevenLabs.slug: ElevenLabs(),
    }
