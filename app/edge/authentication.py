"""Authentication: the layer that finds out on whose behalf a request comes, before anything else looks at it.

It refuses nobody by itself: what a call needs is asked by its route (`guard`). Until then, a request without a key that
counts is nobody's, and sees nothing.
"""

import asyncio

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from app import problems
from app.access.entrance import needs_key, why_not_local
from app.access.keyring import Keyring
from app.access.viewer import NOBODY, SERVICE, Viewer, working_for
from app.errors import DatabaseBusy, OnelayerError, Unauthorized
from app.settings import Settings

SCHEME = b"bearer "

HOW = "send `Authorization: Bearer` and a key; `onelayer keys create` makes one"


class Authentication:
    """Says who asks: `scope["viewer"]` is a viewer, or the error for calls that need one."""

    def __init__(self, app: ASGIApp, keyring: Keyring, settings: Settings) -> None:
        self._app = app
        self._keyring = keyring
        self._is_off = settings.auth == "off"
        self._needs_key = needs_key(settings)
        self._turn = asyncio.Lock()
        self._begun = self._ended = 0  # readings of the keys, by their numbers
        self._is_away = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out, and pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = SERVICE if self._is_off else self._identify(scope)
        found = await self._check(given, scope["path"]) if isinstance(given, bytes) else given
        scope["viewer"] = found
        with working_for(found if isinstance(found, Viewer) else NOBODY):
            await self._app(scope, receive, send)

    def _identify(self, scope: Scope) -> Viewer | Unauthorized | bytes:
        """Who asks, or the key that has to tell."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            return self._without_key(scope)
        if len(given) > 1 or given[0][: len(SCHEME)].lower() != SCHEME:
            return Unauthorized(f"The Authorization header holds no key of this service; {HOW}.", is_wrong=True)
        return bytes(given[0][len(SCHEME) :].strip())

    async def _check(self, key: bytes, path: str) -> Viewer | OnelayerError:
        away: DatabaseBusy | None = None
        try:
            with problems.naming_a_busy_database(path):
                await self._see_the_keys()
        except DatabaseBusy as error:
            away = error  # no key can be made or revoked either: those that are known count on
        viewer = self._keyring.recall(key.decode("latin-1"))
        if viewer is None:
            return away or Unauthorized(
                "The key does not count: it is wrong, revoked, or past its time.", is_wrong=True
            )
        return viewer

    async def _see_the_keys(self) -> None:
        """Have the keys in memory as they are by now; of all requests that wait for them, one reads them."""
        if self._keyring.is_fresh():
            return
        arrived = self._begun
        async with self._turn:
            if self._keyring.is_fresh():
                return
            if self._ended <= arrived:
                await self._read()
            elif self._is_away:  # each of them would wait for it as long again, one after the other
                raise DatabaseBusy(problems.RETRY_SECONDS)

    async def _read(self) -> None:
        """Read the keys for all who have come by now; a reading that is broken off counts for nobody."""
        self._begun += 1
        try:
            await run_in_threadpool(self._keyring.refresh)
        except SQLAlchemyError:
            self._ended, self._is_away = self._begun, True
            raise
        self._ended, self._is_away = self._begun, False

    def _without_key(self, scope: Scope) -> Viewer | Unauthorized:
        if self._needs_key:
            return Unauthorized(f"This call needs a key; {HOW}.")
        reason = why_not_local(scope)
        return SERVICE if reason is None else Unauthorized(f"This request needs a key, since {reason}; {HOW}.")
