"""Whether a server answers, asked before a client that would retry for minutes."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def knock(address: str) -> None:
    """Open and close a connection to ``host:port`` or a URL with a host; else do nothing.

    Raises
    ------
    OSError
        Nothing answers there within 5 seconds.
    ValueError
        The port is no number.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if parts.hostname and port:
        socket.create_connection((parts.hostname, port), timeout=_SECONDS).close()
