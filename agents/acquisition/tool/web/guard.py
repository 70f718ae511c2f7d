"""Refuses every request that does not come from the page itself."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MAX_BODY = 64 * 1024
"""Bytes of a request."""


class Guard:
    """Lets requests with the token through, from this machine's own page alone, and sets headers on every answer.

    - The first part of the path must be the token: other users of the machine and other pages do not know it.
    - Host must be one of the names of this server, against DNS rebinding.
    - Origin and Sec-Fetch-Site, where a browser sends them, must say that the page itself asks.
    - What changes something must be JSON, which no form of another page can send unasked.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str]):
        self.app, self.token, self.hosts = app, token, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets: an unanswered handshake is closed by the server

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await PlainTextResponse(refusal, 403)(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        given = scope["path"].split("/")[1]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return "The address lacks the token; open the one that the command printed."
        host = headers.get("host", "")
        if host not in self.hosts:
            return "This host name is not the page's."
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{name}" for name in self.hosts}:
            return "Another page asked."
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "Another page asked."
        if scope["method"] not in ("GET", "HEAD"):
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return "The request is not JSON."
            length = headers.get("content-length", "")
            if not length.isdecimal() or int(length) > MAX_BODY:
                return "The request is too large."
        return None
