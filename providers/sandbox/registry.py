"""Who is in the sandbox: the class of each slug of the providers' registry, found in the file of that name."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

from providers.registry import BUILT_IN
from providers.sandbox import vendors
from providers.sandbox.vendor_base import SandboxVendor


def vendor_classes() -> Mapping[str, type[SandboxVendor]]:
    """Return the class of every provider that has one, in the registry's order."""
    paths = {slug: f"{vendors.__name__}.{slug}" for slug in BUILT_IN}
    return {slug: _class_in(path, slug) for slug, path in paths.items() if find_spec(path)}


def _class_in(path: str, slug: str) -> type[SandboxVendor]:
    for value in vars(import_module(path)).values():
        if isinstance(value, type) and issubclass(value, SandboxVendor) and getattr(value, "slug", "") == slug:
            return value
    raise LookupError(f"{path} has no subclass of SandboxVendor with the slug {slug!r}.")
