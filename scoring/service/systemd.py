"""What a service tells systemd, in the protocol of sd_notify(3): one datagram, and nothing where nobody listens."""

import os
import socket
from collections.abc import Mapping


def notifier(environ: Mapping[str, str] = os.environ) -> "Notifier":
    """The notifier of this process; systemd names its socket in ``NOTIFY_SOCKET``."""
    return Notifier(environ.get("NOTIFY_SOCKET", ""))


class Notifier:
    """Sends what a service says; silent where ``address`` is empty.

    Args:
        address: path of a datagram socket; ``@`` begins a name in the abstract namespace.
    """

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def say(self, *fields: str) -> None:
        """Send fields such as ``READY=1``. A socket that is away is no reason to end."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.connect(self._address)
                sender.send("\n".join(fields).encode())
        except OSError:
            return
