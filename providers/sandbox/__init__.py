"""A local server that speaks the vendors' real wire formats, so that everything can be tried without a key or a bill.

Nothing else in `providers` knows of it: it is reached by address, like the vendors that it stands in for.
"""

from providers.sandbox.server import Sandbox, running_sandbox

__all__ = ["Sandbox", "running_sandbox"]
