"""The routes as shipped: order, models, prices, capabilities. The one place where they stand.

A migration seeds them into a new database, `manage.py sync_providers` adds those that a database has never seen, the
sandbox charges by these prices, and the tests take their lists of providers from here. What an operator has changed,
renamed or deleted is never touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from providers.types import Category, Operation

WIDE = ["1:1", "4:3", "3:4", "16:9", "9:16"]  # aspect ratios


@dataclass(frozen=True, slots=True)
class ShippedRoute:
    """One route of the chain, before an operator has seen it."""

    category: Category
    provider: str  # slug in the registry
    priority: int  # the lowest is tried first
    model: str  # the provider's own id
    list_price: str | None = None  # USD per price_unit; None: unknown until the provider reports a cost
    price_unit: str = "1k_tokens"  # ProviderConfig.PriceUnit
    prices: Mapping[str, Any] = field(default_factory=dict)  # detailed rates, see pricing.py; as_of: the day of reading
    timeout_seconds: int = 30  # idle timeout, wait for a whole answer, or a job's age
    capabilities: Mapping[str, Any] = field(default_factory=dict)  # see capabilities.py
    enabled: bool = True
    tags: Sequence[str] = ()  # by which AI models choose: speech and music are both AUDIO
    operation: Operation = Operation.GENERATE
    since: str = "0.1.0"  # the release that brought it

    @property
    def name(self) -> str:
        """The name of the route, unique within its category."""
        return self.provider if self.operation == Operation.GENERATE else f"{self.provider}-{self.operation}"

    def as_fields(self) -> dict[str, Any]:
        """Return the values of the ProviderConfig row, as any version of that model takes them."""
        return {
            "category": self.category.value,
            "name": self.name,
            "operation": self.operation.value,
            "provider": self.provider,
            "enabled": self.enabled,
            "priority": self.priority,
            "model": self.model,
            "list_price": None if self.list_price is None else Decimal(self.list_price),
            "price_unit": self.price_unit,
            "prices": dict(self.prices),
            "timeout_seconds": self.timeout_seconds,
            "capabilities": dict(self.capabilities),
            "tags": list(self.tags),
        }


SHIPPED_ROUTES: tuple[ShippedRoute, ...] = (
    # --- Text ---
    ShippedRoute(
        Category.TEXT,
        "aimlapi",
        1,
        "deepseek/deepseek-v4-flash",
        "0.0015",
        prices={"input_per_million": "0.39", "output_per_million": "1.56", "as_of": "2026-11-23"},
    ),
    ShippedRoute(
        Category.TEXT,
        "piapi",
        2,
        "gpt-5.2",
        "0.0012",
        # The maker's: PiAPI publishes none and reports no cost.
        prices={
            "input_per_million": "1.75",
            "cached_input_per_million": "0.175",
            "output_per_million": "14",
            "as_of": "2026-11-27",
        },
    ),
    ShippedRoute(Category.TEXT, "openrouter", 3, "~anthropic/claude-haiku-latest", "0.002"),
    ShippedRoute(
        Category.TEXT,
        "openai",
        4,
        "gpt-6-luna",
        "0.0025",
        prices={
            "input_per_million": "0.1",
            "cached_input_per_million": "0.01",
            "cache_write_per_million": "0.125",
            "output_per_million": "0.5",
            "per_thousand_searches": "10",
            "tiers": [
                {
                    "above_input_tokens": 272_000,
                    "input_per_million": "0.2",
                    "cached_input_per_million": "0.02",
                    "cache_write_per_million": "0.25",
                    "output_per_million": "0.75",
                }
            ],
            "as_of": "2026-11-27",
        },
    ),
    ShippedRoute(
        Category.TEXT,
        "anthropic",
        5,
        "claude-haiku-5-5",
        "0.003",
        prices={
            "input_per_million": "0.1",
            "cached_input_per_million": "0.01",
            "cache_write_per_million": "0.125",
            "output_per_million": "0.5",
            "per_thousand_searches": "10",
            "tiers": [
                {
                    "above_input_tokens": 100_000,
                    "input_per_million": "0.5",
                    "cached_input_per_million": "0.05",
                    "cache_write_per_million": "0.625",
                    "output_per_million": "2.5",
                }
            ],
            "as_of": "2026-11-27",
        },
    ),
    ShippedRoute(
        Category.TEXT,
        "xai",
        6,
        "grok-4.7",
        "0.005",
        prices={
            "input_per_million": "2",
            "cached_input_per_million": "0.5",
            "output_per_million": "6",
            "per_thousand_searches": "5",
            "tiers": [
                {
                    "above_input_tokens": 199_999,
                    "input_per_million": "4",
                    "cached_input_per_million": "1",
                    "output_per_million": "12",
                }
            ],
            "as_of": "2026-11-27",
        },
    ),
    ShippedRoute(
        Category.TEXT,
        "groq",
        107,
        "openai/gpt-oss-20b",
        "0.0003",
        prices={
            "input_per_million": "0.075",
            "cached_input_per_million": "0.0375",
            "output_per_million": "0.3",
            "as_of": "2026-11-27",
        },
        enabled=False,
    ),
    ShippedRoute(
        Category.TEXT,
        "mistral",
        108,
        "mistral-medium-latest",
        "0.003",
        prices={
            "input_per_million": "1.5",
            "cached_input_per_million": "0.15",
            "output_per_million": "7.5",
            "as_of": "2026-11-27",
        },
        enabled=False,
        since="0.2.0",
    ),
    # --- Speech to text: a request has 90 seconds, in which the next one must have its turn, and the answer, too ---
    ShippedRoute(
        Category.TEXT,
        "openai",
        1,
        "gpt-transcribe",
        "0.000075",
        "second",
        prices={"per_second": "0.000075", "as_of": "2026-11-27"},
        timeout_seconds=35,
        operation=Operation.TRANSCRIBE,
        since="0.3.0",
    ),
    ShippedRoute(
        Category.TEXT,
        "groq",
        2,
        "whisper-large-v3-turbo",
        "0.000012",
        "second",
        prices={"per_second": "0.0000111112", "as_of": "2026-11-27"},
        timeout_seconds=35,
        operation=Operation.TRANSCRIBE,
        since="0.3.0",
    ),
    ShippedRoute(
        Category.TEXT,
        "elevenlabs",
        3,
        "scribe_v2",
        "0.000062",
        "second",
        prices={"per_second": "0.0000611112", "as_of": "2026-11-27"},
        timeout_seconds=35,
        operation=Operation.TRANSCRIBE,
        since="0.3.0",
    ),
    # --- Images ---
    ShippedRoute(
        Category.IMAGE,
        "replicate",
        1,
        "black-forest-labs/flux-schnell",
        "0.003",
        "image",
        prices={"as_of": "2026-10-07"},
        timeout_seconds=90,
        capabilities={
            "max_prompt_characters": 4000,
            "aspect_ratios": ["1:1", "16:9", "9:16", "3:2", "2:3", "4:3", "3:4", "4:5", "5:4", "21:9", "9:21"],
            "seed": True,
        },
    ),
    ShippedRoute(
        Category.IMAGE,
        "openai",
        2,
        "gpt-image-2.6-flare",
        "0.04",
        "image",
        prices={
            "input_per_million": "5.00",
            "image_input_per_million": "8.00",
            "output_per_million": "30.00",
            "as_of": "2026-11-27",
        },
        timeout_seconds=180,
        # It takes 32,000 characters, and bills them as tokens: those would cost more than the image.
        capabilities={
            "max_prompt_characters": 1500,
            "aspect_ratios": ["1:1", "3:2", "2:3"],
            "image_input": True,
            "qualities": ["low", "medium", "high"],
        },
    ),
    ShippedRoute(
        Category.IMAGE,
        "xai",
        103,
        "grok-imagine-image",
        "0.02",
        "image",
        prices={"per_image": "0.02", "as_of": "2026-11-23"},
        timeout_seconds=180,
        capabilities={"aspect_ratios": [*WIDE, "2:3", "3:2", "1:2", "2:1", "9:20", "20:9"], "image_input": True},
        enabled=False,
    ),
    ShippedRoute(
        Category.IMAGE,
        "openrouter",
        104,
        "bytedance-seed/seedream-4.5",
        price_unit="image",
        timeout_seconds=180,
        capabilities={
            "aspect_ratios": [*WIDE, "2:3", "3:2", "4:5", "5:4", "21:9", "9:21"],
            "image_input": True,
            "seed": True,
        },
        enabled=False,
    ),
    ShippedRoute(
        Category.IMAGE,
        "piapi",
        105,
        "Qubico/flux1-schnell",
        "0.0015",
        "image",
        prices={"per_image": "0.0015", "as_of": "2026-09-22"},
        timeout_seconds=90,
        capabilities={"aspect_ratios": WIDE},
        enabled=False,
    ),
    ShippedRoute(
        Category.IMAGE,
        "aimlapi",
        106,
        "flux/schnell",
        price_unit="image",
        timeout_seconds=180,
        capabilities={"max_prompt_characters": 4000, "aspect_ratios": WIDE, "seed": True},
        enabled=False,
    ),
    # The provider reports the cost of each task, so no price is shipped.
    ShippedRoute(
        Category.IMAGE,
        "runware",
        107,
        "runware:400@1",
        price_unit="image",
        timeout_seconds=90,
        capabilities={"aspect_ratios": WIDE, "image_input": True, "negative_prompt": True, "seed": True},
        enabled=False,
    ),
    ShippedRoute(
        Category.IMAGE,
        "kie",
        108,
        "nano-banana-2",
        "0.04",
        "image",
        prices={"per_image": "0.04", "as_of": "2026-06-09"},
        timeout_seconds=180,
        capabilities={
            "max_prompt_characters": 20000,
            "aspect_ratios": [*WIDE, "2:3", "3:2", "4:5", "5:4", "21:9"],
        },
        enabled=False,
    ),
    # --- Videos ---
    ShippedRoute(
        Category.VIDEO,
        "replicate",
        1,
        "kwaivgi/kling-v3-video",
        "0.084",
        "second",
        prices={"as_of": "2026-10-01"},
        timeout_seconds=900,
        capabilities={
            "max_prompt_characters": 2500,
            "seconds": [*range(3, 16)],
            "aspect_ratios": ["16:9", "9:16", "1:1"],
            "image_input": True,
            "negative_prompt": True,
        },
    ),
    ShippedRoute(
        Category.VIDEO,
        "piapi",
        102,
        "kling",
        "0.10",
        "second",
        prices={"per_second": "0.10", "as_of": "2026-11-23"},
        timeout_seconds=900,
        capabilities={"seconds": [5, 10], "aspect_ratios": ["16:9", "9:16", "1:1"], "negative_prompt": True},
        enabled=False,
    ),
    ShippedRoute(
        Category.VIDEO,
        "aimlapi",
        103,
        "klingai/video-v3-standard-turbo-text-to-video",
        price_unit="second",
        timeout_seconds=900,
        capabilities={
            "max_prompt_characters": 3072,
            "seconds": [*range(3, 16)],
            "aspect_ratios": ["16:9", "9:16", "1:1"],
        },
        enabled=False,
    ),
    ShippedRoute(
        Category.VIDEO,
        "runware",
        104,
        "klingai:5@3",
        price_unit="second",
        timeout_seconds=900,
        capabilities={"seconds": [5, 10], "aspect_ratios": ["16:9"], "image_input": True, "negative_prompt": True},
        enabled=False,
    ),
    ShippedRoute(
        Category.VIDEO,
        "kie",
        105,
        "kling-2.6/text-to-video",
        "0.055",
        "second",
        prices={"per_second": "0.055", "as_of": "2026-06-09"},
        timeout_seconds=900,
        capabilities={
            "max_prompt_characters": 1000,
            "seconds": [5, 10],
            "aspect_ratios": ["16:9", "9:16", "1:1"],
        },
        enabled=False,
    ),
    # --- Audio: speech, and one of music ---
    ShippedRoute(
        Category.AUDIO,
        "elevenlabs",
        1,
        "eleven_v4_turbo",
        "0.04",
        "1k_characters",
        prices={"as_of": "2026-09-28"},
        timeout_seconds=60,
        capabilities={"max_prompt_characters": 10000, "seed": True},
        tags=["speech"],
    ),
    ShippedRoute(
        Category.AUDIO,
        "replicate",
        2,
        "minimax/speech-2.6-turbo",
        "0.06",
        "1k_characters",
        timeout_seconds=120,
        capabilities={"max_prompt_characters": 10000},
        tags=["speech"],
    ),
    ShippedRoute(
        Category.AUDIO,
        "openrouter",
        103,
        "mistralai/voxtral-mini-tts-2603",
        price_unit="1k_characters",
        timeout_seconds=60,
        capabilities={"voices": ["en_paul_neutral"]},
        enabled=False,
        tags=["speech"],
    ),
    ShippedRoute(
        Category.AUDIO,
        "aimlapi",
        104,
        "inworld/tts-1-5-mini",
        price_unit="1k_characters",
        timeout_seconds=60,
        capabilities={"voices": ["Alex", "Ashley", "Deborah", "Dennis", "Mark", "Olivia", "Sarah", "Timothy"]},
        enabled=False,
        tags=["speech"],
    ),
    ShippedRoute(
        Category.AUDIO,
        "piapi",
        105,
        "music-u",
        "0.05",
        "call",
        prices={"as_of": "2026-11-23"},
        timeout_seconds=300,
        enabled=False,
        tags=["music"],
    ),
)


def shipped_routes(category: Category | None = None, operation: Operation = Operation.GENERATE) -> list[ShippedRoute]:
    """Return the shipped routes for an operation, of one category or of all, in the order in which they are tried."""
    return [route for route in SHIPPED_ROUTES if category in (None, route.category) and route.operation == operation]


def shipped_route(category: Category, provider: str, operation: Operation = Operation.GENERATE) -> ShippedRoute | None:
    """Return the shipped route of a provider in a category, None where there is none."""
    return next((route for route in shipped_routes(category, operation) if route.provider == provider), None)
