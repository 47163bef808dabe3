"""Who is in the sandbox, in the order of the product's own directory."""

from collections.abc import Mapping

from providers.sandbox.fake_jobs import Clock
from providers.sandbox.outgoing_callbacks import Callbacks
from providers.sandbox.vendor_base import Vendor
from providers.sandbox.vendors.aimlapi import AimlapiWithMedia
from providers.sandbox.vendors.elevenlabs import ElevenLabs
from providers.sandbox.vendors.kie import Kie
from providers.sandbox.vendors.openai import OpenAIWithPictures
from providers.sandbox.vendors.openrouter import OpenRouterWithMedia
from providers.sandbox.vendors.piapi import PiapiWithTasks
from providers.sandbox.vendors.replicate import Replicate
from providers.sandbox.vendors.runware import Runware
from providers.sandbox.vendors.text_vendors import TEXT_VENDORS
from providers.sandbox.vendors.xai import XaiWithPictures

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
