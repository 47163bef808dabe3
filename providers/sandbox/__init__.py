"""A local server that answers in the providers' wire formats, so that everything can be tried without a key or a bill.

Nothing else in `providers` imports it: it is reached by address, as the companies are that it stands in for.
"""

from providers.sandbox.server import Sandbox, running_sandbox

__all__ = ["Sandbox", "running_sandbox"]
