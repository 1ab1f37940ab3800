"""`tidemill up`: the application behind an address."""

from __future__ import annotations

import ipaddress
import socket

import uvicorn

from tidemill.api.app import create_app
from tidemill.core.errors import InvalidArgument, PermissionDenied, Unavailable
from tidemill.platform import Platform

GRACE_SECONDS = 5
"""Requests that are being answered get so long when the server stops."""


def run(platform: Platform, host: str, port: int) -> None:
    """Answer requests until the process is asked to stop.

    Args:
        platform: An open platform.
        host: A loopback address.
        port: A free port.

    Raises:
        PermissionDenied: The address can be reached from outside.
        Unavailable: The port is taken.
    """
    with bind(host, port) as listener:
        make_server(platform).run(sockets=[listener])


def make_server(platform: Platform) -> uvicorn.Server:
    """A server for a listening socket that is handed to its `run` or `serve`."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(platform),
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
        )
    )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback address; port 0 takes any free one.

    Raises:
        PermissionDenied: The address can be reached from outside.
        Unavailable: The port is taken.
    """
    check_loopback(host)
    if not 0 <= port <= 65535:
        raise InvalidArgument(f"{port} is not a port", expected="0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets TCP_NODELAY only on sockets whose protocol number says TCP; accepted ones inherit it this way.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"port {port} of {host} cannot be used: {error.strerror}",
            hint="Stop what listens there, or choose another with --port",
        ) from None
    return listener


def check_loopback(host: str) -> None:
    """Refuse an address that others can reach.

    Raises:
        PermissionDenied: It is not a loopback address.

    Example:
        >>> check_loopback("127.0.0.1")
    """
    if not _is_loopback(host):
        raise PermissionDenied(
            f"{host!r} can be reached from other machines, and there are no accounts yet",
            expected="a loopback address such as 127.0.0.1",
            hint="Leave out --host, and reach it from elsewhere through a tunnel such as ssh -L",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
