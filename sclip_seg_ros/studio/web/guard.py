"""Who may use the page: this computer alone, or who has the token; and only pages of our own."""

from __future__ import annotations

import ipaddress
import re
import secrets
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "sclip_studio"  # and the port, for a host's cookies are those of all its ports
# Everything comes from this server, and nothing leaves it; no word on the page becomes code.
HEADERS = {
    "content-security-policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Tell whether only this computer reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_any(host: str) -> bool:
    """Tell whether an address stands for all of this computer's."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


class Guard:
    """Turn away whoever may not use the page, before anything else is done.

    - Without a token, requests must be addressed to this computer itself, so that a name that a
      web page made to lead here is of no use to it (DNS rebinding).
    - With a token, it must come once in the address (`?token=`), and then in a cookie.
    - What another web page sends is refused, by its Origin.
    """

    def __init__(self, app: ASGIApp, host: str, token: str) -> None:
        """Stand before an application.

        Args:
            app: that is guarded.
            host: address that it is served at.
            token: that must be known; empty: none.
        """
        self._app = app
        self._token = token
        own = host.lower()  # as browsers send it
        self._hosts = None if is_any(host) else {"localhost", "127.0.0.1", "::1", own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._problem(headers, scope)
        if problem:
            await self._refuse(problem, scope, receive, send)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self._token and scope["type"] == "http" and given:
            # The address bar, the history and a link that somebody copies hold it no longer.
            answer = RedirectResponse("/", 303, headers=HEADERS)
            answer.set_cookie(_cookie(headers), self._token, httponly=True, samesite="strict")
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, _with_headers(send))

    def _problem(self, headers: Headers, scope: Scope) -> str:
        host = _hostname(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return f"'{host}' is not the address that the studio is served at"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
            return "another web page may not use the studio"
        if origin is None and scope["type"] == "websocket":
            return "a browser says what page it shows; this was none"
        if self._token and not self._knows(headers, scope):
            return "the token is missing or wrong; open the address that the terminal shows"
        return ""

    def _knows(self, headers: Headers, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        # Other programs on this host set cookies too, which not every parser understands.
        found = given or cookie_parser(headers.get("cookie", "")).get(_cookie(headers), "")
        return secrets.compare_digest(found.encode(), self._token.encode())

    async def _refuse(self, problem: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": problem[:120]})
        else:
            await PlainTextResponse(f"{problem}\n", 403, HEADERS)(scope, receive, send)


def _cookie(headers: Headers) -> str:
    """Return the name of the cookie with the token, by the port that the browser knows."""
    port = re.search(r":(\d+)$", headers.get("host", ""))
    return f"{COOKIE}_{port[1]}" if port else COOKIE


def _hostname(host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty where it has none."""
    try:
        return (urlsplit(f"//{host}").hostname or "") if "/" not in host else ""
    except ValueError:  # a bracket that does not end
        return ""


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"],
                                  *((name.encode(), value.encode())
                                    for name, value in HEADERS.items())]
        await send(message)
    return wrapped
