"""HEAD: every path that has GET answers it with the headers of that reply and nothing behind them (RFC 9110, 9.3.2)."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """The innermost layer: what lies below knows GET alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry HEAD out as GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        over = asyncio.Event()

        async def only_the_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                over.set()

        async def until_over() -> Message:
            # A stream would go on for as long as somebody listens, and nobody does.
            await over.wait()
            return {"type": "http.disconnect"}

        # By this version of the protocol streams listen for a disconnection; by later ones they wait for an error.
        inner = {**scope, "method": "GET", "asgi": {**scope["asgi"], "spec_version": "2.3"}}
        try:
            await self._app(inner, until_over, only_the_head)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]
