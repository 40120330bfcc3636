"""The socket that the service listens on, and who can reach it."""

import ipaddress
import socket

from mailroom.errors import ConfigError


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except OSError as exc:
        raise ConfigError(
            f"{host}:{port}: cannot be listened on: {exc.strerror}; choose another with --host and --port"
        ) from exc
