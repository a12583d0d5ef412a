"""Keys: whether the time of a check tells a wrong key from an unknown one, and what a key costs a request.

The kinds of keys are checked in turn, in a random order, so that whatever else the machine does meets all alike. The
chance that a wrong key takes longer than an unknown one (the area under the ROC curve) is 1/2 if time tells nothing.
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
REQUESTS = 4_000
ROUNDS = 8


def run() -> None:
    """The check alone, then through HTTP; then requests with and without a key."""
    with tempfile.TemporaryDirectory() as temporary:
        database = Database(f"sqlite:///{temporary}/onelayer.db")
        migrate(database)
        known = [keys.create(database, Scope.READ) for _ in range(KEYS)]
        ring = Keyring(database, Revision(database).now)
        text = str(known[0])
        print(f"a key that counts: {_nanoseconds(lambda: ring.check(text), 20_000) / 1e3:.2f} µs a check")
        tell("a check of one id again and again", _kinds([known[0].key_id]), ring.check, CHECKS)
        tell("a check of many ids", _kinds([token.key_id for token in known]), ring.check, CHECKS)
        database.dispose()
    with tempfile.TemporaryDirectory() as temporary, GuardedServer(Path(temporary) / "data") as server:
        client = server.stranger()

        def ask(token: str) -> None:
            reply = client.get("/models", headers={"Authorization": f"Bearer {token}"})
            assert reply.status_code == 401

        tell("a request", _kinds([server.admin.id]), ask, REQUESTS)
        client.close()
        cost(server)


def _kinds(known: list[str]) -> dict[str, list[str]]:
    """The ids of keys that there are, and as many of keys that there are not."""
    return {"wrong": known, "unknown": [Token.new().key_id for _ in known]}


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
    wrong, unknown = (np.array(found[kind]) for kind in ("wrong", "unknown"))
    chance, error = _chance(wrong, unknown)
    medians = ", ".join(f"{kind} {np.median(times) / 1e3:.2f} µs" for kind, times in found.items())
    print(f"{what}: {medians}; a wrong key takes longer with a chance of {chance:.3f} ± {error:.3f}")


def _chance(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Mann and Whitney's U by the number of pairs, and its standard error if both are alike."""
    both = np.concatenate((one, other))
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = len(one), len(other)
    u = ranks[:n].sum() - n * (n + 1) / 2
    return float(u / (n * m)), float(np.sqrt((n + m + 1) / (12 * n * m)))


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
