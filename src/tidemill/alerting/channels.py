"""Where notifications go: the console, or a webhook."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from typing import IO, Any, Protocol
from urllib.error import URLError
from urllib.parse import parse_qs, urldefrag, urlsplit

import msgspec

from tidemill.core.errors import InvalidArgument, Unavailable
from tidemill.core.records.alerting import Notification

TIMEOUT = 10.0
"""Seconds a webhook has to answer."""


class Channel(Protocol):
    """Sends one notification."""

    def send(self, notification: Notification) -> None:
        """Deliver it.

        Raises:
            Unavailable: It was not delivered; trying again later may help.
        """
        ...


class Console:
    """Writes a line on the standard error stream.

    Args:
        write: Writes a line elsewhere.
    """

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write

    def send(self, notification: Notification) -> None:
        data = notification.payload["data"]
        line = (
            f"{notification.payload['time']}  {data['severity']}  {data['alert']} {notification.reason}: {data['text']}"
        )
        if self._write is not None:
            self._write(line)
        else:
            print(line, file=sys.stderr, flush=True)


class Webhook:
    """Posts the CloudEvent as JSON.

    A delivery may be repeated when the process is killed between the answer and writing it down; `Idempotency-Key` (the id of
    the event) is then the same.

    Args:
        url: Where to.
        secret: Signs the body: `X-Tidemill-Signature: sha256=HEX`, HMAC-SHA256.
    """

    def __init__(self, url: str, secret: bytes | None = None) -> None:
        self._url = url
        self._secret = secret
        # A redirected post would become a get of an address nobody configured.
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, notification: Notification) -> None:
        body = msgspec.json.encode(notification.payload)
        headers = {"Content-Type": "application/cloudevents+json", "Idempotency-Key": notification.id}
        if self._secret is not None:
            headers["X-Tidemill-Signature"] = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with self._opener.open(request, timeout=TIMEOUT):
                return
        except (URLError, OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the webhook of channel {notification.channel!r} did not take it: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def open_channel(
    name: str, url: str, *, write: Callable[[str], None] | None = None, environ: Mapping[str, str] = os.environ
) -> Channel:
    """The channel a setting names.

    Args:
        name: Its name.
        url: `console:`, or `http(s)://...`; with `#secret=VARIABLE` the environment variable holds the key of the signature.
        write: Writes the lines of a console.
        environ: The environment.

    Raises:
        InvalidArgument: The URL is neither, or the variable is not set.
    """
    if url == "console:":
        return Console(write)
    address, fragment = urldefrag(url)
    if urlsplit(address).scheme not in ("http", "https"):
        raise InvalidArgument(f"channel {name!r} is {url!r}", expected="console: or the URL of a webhook")
    variable = parse_qs(fragment).get("secret", [""])[0]
    if variable and variable not in environ:
        raise InvalidArgument(f"channel {name!r} wants its secret from {variable}, which is not set")
    return Webhook(address, environ[variable].encode() if variable else None)
