"""Which addresses are this machine's: the sandbox listens on no other, and calls no other."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
