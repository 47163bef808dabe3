"""The providers: where each one is, which variable holds its key, which classes implement its API.

Reading this file imports no provider. To add one, follow docs/adding-a-provider.md: its file under backends/, its
entry here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from providers.types import Category, Operation

if TYPE_CHECKING:
    from providers.accounts.base import AccountApi
    from providers.backends.base import TextProvider
    from providers.backends.media_generation import MediaProvider


@dataclass(frozen=True, slots=True)
class CallbackSpec:
    """How a provider calls us when a job is over. Its calls are signed as Standard Webhooks are."""

    secret_variable: str  # the environment variable of the secret that signs the calls
    secret_hint: str  # where the operator finds it
    job_id_path: tuple[str, ...] = ("id",)  # of the job's id in a call's body


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """How a provider tells what it charges and what is left: to the key that makes the calls, to an admin key, or both.

    An admin key may do much more than ask for bills, so it goes to no other server by the base URL of the calls.
    """

    path: str = ""  # dotted path of the class that asks with a key that makes calls; "": such a key is told nothing
    admin_path: str = ""  # the same with an admin key; "": there is none that is told more
    admin_variable: str = ""  # the environment variable of the admin key
    admin_base_url: str = ""  # overridden by the environment variable admin_base_url_variable only

    @property
    def admin_base_url_variable(self) -> str:
        """The environment variable of the address to which the admin key goes."""
        return _base_url_variable(self.admin_variable)


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """What is known of a provider without importing its classes."""

    label: str  # how people write the name
    key_variable: str  # the environment variable of its key
    base_url: str  # overridden by the environment variable base_url_variable only
    backends: Mapping[Category, str]  # dotted paths of the classes that generate, and edit what they generate
    transcriber: str = ""  # dotted path of the class that turns speech into text
    callback: CallbackSpec | None = None  # None: it makes no callbacks, jobs are polled
    account: AccountSpec = AccountSpec()  # without paths: its API tells neither charges nor a balance

    def backend_path(self, category: Category, operation: Operation = Operation.GENERATE) -> str:
        """Return the dotted path of the class that does this, "" where there is none."""
        return self.transcriber if operation == Operation.TRANSCRIBE else self.backends.get(category, "")

    def abilities(self) -> list[tuple[Category, Operation]]:
        """Return what some class does for this provider."""
        generated = [(category, Operation.GENERATE) for category in self.backends]
        return [*generated, *([(Category.TEXT, Operation.TRANSCRIBE)] if self.transcriber else [])]

    @property
    def base_url_variable(self) -> str:
        """The environment variable of its base URL."""
        return _base_url_variable(self.key_variable)

    @property
    def base_path(self) -> str:
        """The path that belongs to the base URL ("/v1"), for servers that stand in for the provider."""
        return urlsplit(self.base_url).path


def _base_url_variable(key_variable: str) -> str:
    return re.sub("(_API)?_(KEY|TOKEN)$", "_BASE_URL", key_variable)


BUILT_IN: Mapping[str, ProviderSpec] = {
    "aimlapi": ProviderSpec(
        "AIMLAPI",
        "AIMLAPI_KEY",
        "https://api.aimlapi.com",
        {
            Category.TEXT: "providers.backends.aimlapi.AimlapiText",
            Category.IMAGE: "providers.backends.aimlapi.AimlapiImage",
            Category.VIDEO: "providers.backends.aimlapi.AimlapiVideo",
            Category.AUDIO: "providers.backends.aimlapi.AimlapiAudio",
        },
        account=AccountSpec("providers.accounts.aimlapi.AimlapiAccount"),
    ),
    "piapi": ProviderSpec(
        "PiAPI",
        "PIAPI_KEY",
        "https://api.piapi.ai",
        {
            Category.TEXT: "providers.backends.piapi.PiapiText",
            Category.IMAGE: "providers.backends.piapi.PiapiImage",
            Category.VIDEO: "providers.backends.piapi.PiapiVideo",
            Category.AUDIO: "providers.backends.piapi.PiapiMusic",
        },
        account=AccountSpec("providers.accounts.piapi.PiapiAccount"),
    ),
    "openrouter": ProviderSpec(
        "OpenRouter",
        "OPENROUTER_KEY",
        "https://openrouter.ai/api/v1",
        {
            Category.TEXT: "providers.backends.openrouter.OpenRouterText",
            Category.IMAGE: "providers.backends.openrouter.OpenRouterImage",
            Category.AUDIO: "providers.backends.openrouter.OpenRouterSpeech",
        },
        account=AccountSpec(
            "providers.accounts.openrouter.OpenRouterKey",
            "providers.accounts.openrouter.OpenRouterAccount",
            "OPENROUTER_MANAGEMENT_KEY",
            "https://openrouter.ai/api/v1",
        ),
    ),
    "openai": ProviderSpec(
        "OpenAI",
        "OPENAI_API_KEY",
        "https://api.openai.com/v1",
        {
            Category.TEXT: "providers.backends.openai.OpenAIText",
            Category.IMAGE: "providers.backends.openai.OpenAIImage",
        },
        "providers.backends.openai.OpenAITranscription",
        account=AccountSpec(
            admin_path="providers.accounts.openai.OpenAIOrganization",
            admin_variable="OPENAI_ADMIN_KEY",
            admin_base_url="https://api.openai.com/v1",
        ),
    ),
    "anthropic": ProviderSpec(
        "Anthropic",
        "ANTHROPIC_API_KEY",
        "https://api.anthropic.com",
        {Category.TEXT: "providers.backends.anthropic.AnthropicText"},
        account=AccountSpec(
            admin_path="providers.accounts.anthropic.AnthropicOrganization",
            admin_variable="ANTHROPIC_ADMIN_KEY",
            admin_base_url="https://api.anthropic.com",
        ),
    ),
    "xai": ProviderSpec(
        "xAI",
        "XAI_API_KEY",
        "https://api.x.ai/v1",
        {
            Category.TEXT: "providers.backends.xai.XaiText",
            Category.IMAGE: "providers.backends.xai.XaiImage",
        },
        account=AccountSpec(
            admin_path="providers.accounts.xai.XaiTeam",
            admin_variable="XAI_MANAGEMENT_KEY",
            admin_base_url="https://management-api.x.ai",
        ),
    ),
    "replicate": ProviderSpec(
        "Replicate",
        "REPLICATE_API_TOKEN",
        "https://api.replicate.com/v1",
        {
            Category.IMAGE: "providers.backends.replicate.ReplicateImage",
            Category.VIDEO: "providers.backends.replicate.ReplicateVideo",
            Category.AUDIO: "providers.backends.replicate.ReplicateAudio",
        },
        callback=CallbackSpec(
            "REPLICATE_WEBHOOK_SECRET",
            "It is whsec_ and base64; GET https://api.replicate.com/v1/webhooks/default/secret shows it.",
        ),
    ),
    "elevenlabs": ProviderSpec(
        "ElevenLabs",
        "ELEVENLABS_API_KEY",
        "https://api.elevenlabs.io",
        {Category.AUDIO: "providers.backends.elevenlabs.ElevenLabsSpeech"},
        "providers.backends.elevenlabs.ElevenLabsTranscription",
        account=AccountSpec("providers.accounts.elevenlabs.ElevenLabsAccount"),
    ),
    "runware": ProviderSpec(
        "Runware",
        "RUNWARE_API_KEY",
        "https://api.runware.ai/v1",
        {
            Category.IMAGE: "providers.backends.runware.RunwareImage",
            Category.VIDEO: "providers.backends.runware.RunwareVideo",
        },
        account=AccountSpec("providers.accounts.runware.RunwareAccount"),
    ),
    "kie": ProviderSpec(
        "Kie.ai",
        "KIE_API_KEY",
        "https://api.kie.ai",
        {
            Category.IMAGE: "providers.backends.kie.KieImage",
            Category.VIDEO: "providers.backends.kie.KieVideo",
        },
        account=AccountSpec("providers.accounts.kie.KieAccount"),
    ),
    "groq": ProviderSpec(
        "Groq",
        "GROQ_API_KEY",
        "https://api.groq.com/openai/v1",
        {Category.TEXT: "providers.backends.groq.GroqText"},
        "providers.backends.groq.GroqTranscription",
    ),
    "mistral": ProviderSpec(
        "Mistral",
        "MISTRAL_API_KEY",
        "https://api.mistral.ai/v1",
        {Category.TEXT: "providers.backends.mistral.MistralText"},
    ),
}


# Those, and the servers of OPENAI_COMPATIBLE, which the settings add before anybody reads this.
PROVIDERS: dict[str, ProviderSpec] = dict(BUILT_IN)


def register_compatible(slug: str, base_url: str) -> None:
    """Add a server that speaks as OpenAI's does. Its key is in the variable that is named after it. Idempotent."""
    PROVIDERS[slug] = ProviderSpec(
        slug,
        f"{slug.upper().replace('-', '_')}_API_KEY",
        base_url,
        {
            Category.TEXT: "providers.backends.openai_compatible.CompatibleServerText",
            Category.IMAGE: "providers.backends.openai_compatible.CompatibleServerImage",
        },
        "providers.backends.openai_compatible.CompatibleServerTranscription",
    )


def choices() -> list[tuple[str, str]]:
    """Return (slug, label) pairs in reading order, for models and forms."""
    return [(slug, spec.label) for slug, spec in PROVIDERS.items()]


def label_of(slug: str) -> str:
    """Return how people write the provider's name; an unknown slug is returned as it is."""
    spec = PROVIDERS.get(slug)
    return spec.label if spec else slug


def is_implemented(category: Category, slug: str, operation: Operation = Operation.GENERATE) -> bool:
    """Return whether a class implements this provider's API for this category and operation."""
    spec = PROVIDERS.get(slug)
    return spec is not None and bool(spec.backend_path(category, operation))


@cache
def provider_class(
    category: Category, slug: str, operation: Operation = Operation.GENERATE
) -> type["TextProvider | MediaProvider"]:
    """Import and return the provider's class; the first call per class imports its file. Thread-safe.

    Ask is_implemented() first.
    """
    module_path, _, name = PROVIDERS[slug].backend_path(category, operation).rpartition(".")
    found: type[TextProvider | MediaProvider] = getattr(import_module(module_path), name)
    return found if found.slug == slug else type(name, (found,), {"slug": slug})


@cache
def account_class(path: str) -> type["AccountApi"]:
    """Import and return the class that asks for an account, by a path of an AccountSpec. Thread-safe."""
    module_path, _, name = path.rpartition(".")
    found: type[AccountApi] = getattr(import_module(module_path), name)
    return found
