"""Who is in the sandbox, in the order of the product's own directory."""

from collections.abc import Mapping

from providers.sandbox.aimlapi import AimlapiWithMedia
from providers.sandbox.callbacks import Callbacks
from providers.sandbox.jobs import Clock
from providers.sandbox.kie import Kie
from providers.sandbox.openrouter import OpenRouterWithMedia
from providers.sandbox.piapi import PiapiWithTasks
from providers.sandbox.pictures import OpenAIWithPictures
from providers.sandbox.replicate import Replicate
from providers.sandbox.runware import Runware
from providers.sandbox.speech import ElevenLabs
from providers.sandbox.vendors import TEXT_VENDORS
from providers.sandbox.wire import Vendor
from providers.sandbox.xai import XaiWithPictures

WITH_MEDIA = (AimlapiWithMedia, PiapiWithTasks, OpenRouterWithMedia, XaiWithPictures)
SLUGS = (*TEXT_VENDORS, Replicate.slug, ElevenLabs.slug, Runware.slug, Kie.slug)


def make_vendors(
    *, film_seconds: float, quick_seconds: float, clock: Clock, callbacks: Callbacks
) -> Mapping[str, Vendor]:
    """Return the vendors of one sandbox: some of them remember what was ordered."""
    return {
        **TEXT_VENDORS,
        **{
            vendor.slug: vendor(film_seconds=film_seconds, quick_seconds=quick_seconds, clock=clock)
            for vendor in WITH_MEDIA
        },
        OpenAIWithPictures.slug: OpenAIWithPictures(),
        Replicate.slug: Replicate(
            film_seconds=film_seconds, quick_seconds=quick_seconds, clock=clock, callbacks=callbacks
        ),
        ElevenLabs.slug: ElevenLabs(),
        Runware.slug: Runware(film_seconds=film_seconds, quick_seconds=quick_seconds, clock=clock),
        Kie.slug: Kie(film_seconds=film_seconds, quick_seconds=quick_seconds, clock=clock),
    }
