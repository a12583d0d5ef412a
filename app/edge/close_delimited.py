"""Replies that end where the connection does: HTTP/1.0 knows no chunks (RFC 9112, section 6.1)."""

from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def close_delimited(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """The application, with replies of unknown length that uvicorn does not cut into chunks."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def send_whole(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message["headers"])
                if not has_length:
                    cycle.chunked_encoding = False
            elif not has_length:
                # uvicorn counts down to the announced length; none was, and each part is all that it waits for.
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await cast("ASGIApp", app)(scope, receive, send_whole)

    return cast("ASGI3Application", answer)
