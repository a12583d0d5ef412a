"""Keys: whether the time of a check tells a wrong key from an unknown one, and what a key costs a request.

The kinds of keys are checked in a random order, so that whatever else the machine does meets all alike. The chance that
a wrong key takes longer than an unknown one (the area under the ROC curve) is 1/2 if time tells nothing. How far from
1/2 chance alone may lead is told by a second kind of wrong keys, which differ from the first in nothing but their ids.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np

from app.access import keys
from app.access.keyring import Keyring
from app.access.scope import Scope
from app.access.token import Token
from app.database import Database
from app.migrate import migrate
from app.models.revision import Revision
from tests.guarded_server import GuardedServer

KEYS = 500
CHECKS = 100_000
REQUESTS = 6_000
ROUNDS = 8


def run() -> None:
    """The check alone, then through HTTP; then requests with and without a key."""
    with tempfile.TemporaryDirectory() as temporary:
        database = Database(f"sqlite:///{temporary}/onelayer.db")
        migrate(database)
        known = [keys.create(database, Scope.READ) for _ in range(KEYS)]
        ring = Keyring(database, Revision(database).now)
        ring.refresh()
        text = str(known[0])
        print(f"a key that counts: {_nanoseconds(lambda: ring.recall(text), 20_000) / 1e3:.2f} µs a check")
        tell("a check of one id again and again", _kinds([token.key_id for token in known[:2]]), ring.recall, CHECKS)
        tell("a check of many ids", _kinds([token.key_id for token in known]), ring.recall, CHECKS)
        database.dispose()
    with tempfile.TemporaryDirectory() as temporary, GuardedServer(Path(temporary) / "data") as server:
        client = server.stranger()

        def ask(token: str) -> None:
            reply = client.get("/models", headers={"Authorization": f"Bearer {token}"})
            assert reply.status_code == 401

        tell("a request", _kinds([server.admin.id, server.holder("read").id]), ask, REQUESTS)
        client.close()
        cost(server)


def _kinds(known: list[str]) -> dict[str, list[str]]:
    """The ids of keys that there are, and as many of keys that there are not."""
    half = len(known) // 2
    return {"wrong": known[:half], "also wrong": known[half:], "unknown": [Token.new().key_id for _ in range(half)]}


def tell(what: str, kinds: dict[str, list[str]], check: Callable[[str], object], count: int) -> None:
    """Time both kinds side by side, and print what their times tell."""
    order = [kind for kind in kinds for _ in range(count)]
    random.Random(0).shuffle(order)
    # Made before anything is timed: what was last in the processor's caches makes more difference than the check.
    texts = [str(Token(random.choice(kinds[kind]), Token.new().secret)) for kind in order]
    found: dict[str, list[int]] = {kind: [] for kind in kinds}
    for kind, text in zip(order, texts, strict=True):
        start = time.perf_counter_ns()
        check(text)
        found[kind].append(time.perf_counter_ns() - start)
    wrong, also_wrong, unknown = (np.array(times) for times in found.values())
    medians = ", ".join(f"{kind} {np.median(times) / 1e3:.2f} µs" for kind, times in found.items())
    print(f"{what}: {medians}")
    print(f"    longer than unknown: {_chance(wrong, unknown):.3f}; than also wrong: {_chance(wrong, also_wrong):.3f}")


def _chance(one: np.ndarray, other: np.ndarray) -> float:
    """Mann and Whitney's U, divided by the number of pairs."""
    _, inverse, counts = np.unique(np.concatenate((one, other)), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = len(one)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(other)))


def _nanoseconds(do: Callable[[], object], count: int) -> float:
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        do()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times)


def cost(server: GuardedServer) -> None:
    """The same small call with a key, and with a header as long that nobody looks at, in turn; the best of each."""
    value = f"Bearer {server.admin.token}"
    kinds = {"a key": {"Authorization": value}, "another header": {"X-Not-A-Key-Here": value}}
    best = dict.fromkeys(kinds, np.inf)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        for _ in range(ROUNDS):
            for name, headers in kinds.items():
                times = _nanoseconds(lambda headers=headers: client.get("/healthz", headers=headers), 500)  # type: ignore[misc]
                best[name] = min(best[name], times)
    print("; ".join(f"/healthz with {name}: {value / 1e3:.1f} µs" for name, value in best.items()))
