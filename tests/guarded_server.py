"""A running server that needs keys, and clients that hold one each."""

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from app.access import keys
from app.access.scope import Scope
from app.access.token import Token
from app.database import Database
from app.migrate import migrate
from tests.running_server import RunningServer


class Holder:
    """Someone with a key."""

    def __init__(self, url: str, token: str) -> None:
        self.token = token
        self.id = token.split("_")[1]
        self.client = httpx.Client(
            base_url=url, timeout=60, trust_env=False, headers={"Authorization": f"Bearer {token}"}
        )

    def make_line(self, name: str, **fields: Any) -> str:
        """A dataset of 100 rows; its id."""
        source = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 100}
        reply = self.client.post("/datasets", json={"name": name, "source": source, **fields})
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    def train(self, dataset: str, **spec: Any) -> dict[str, Any]:
        """A job that is over."""
        asked = {"dataset": dataset, "model": "linear", "epochs": 3, "learning_rate": 0.03, "seed": 0, **spec}
        reply = self.client.post("/jobs", json=asked, headers={"Prefer": "wait=30"})
        assert reply.status_code == 200, reply.text
        job: dict[str, Any] = reply.json()
        assert job["status"] == "succeeded", job
        return job


class GuardedServer:
    """`onelayer serve` that asks everyone for a key."""

    def __init__(self, data_dir: Path, ready: str = "/readyz", **settings: Any) -> None:
        data_dir.mkdir(parents=True)
        self.database = Database(f"sqlite:///{data_dir / 'onelayer.db'}")
        migrate(self.database)
        self._made: list[Holder] = []
        self.running = RunningServer(data_dir, ready, auth="required", **settings)
        self._first = keys.create(self.database, Scope.ADMIN)  # a server without keys does not start

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.running.url

    def holder(self, scope: str, owner: str | None = None, **options: Any) -> Holder:
        """Someone with a new key."""
        return self._hold(keys.create(self.database, Scope(scope), owner=owner, **options))

    def _hold(self, token: Token) -> Holder:
        made = Holder(self.url, str(token))
        self._made.append(made)
        return made

    def stranger(self, **headers: str) -> httpx.Client:
        """Someone without a key of ours."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, headers=headers)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`onelayer keys …` on this server's data."""
        command = [sys.executable, "-m", "app", "keys", *words, "--data-dir", str(self.running.data_dir)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def everything(self) -> Any:
        """All that an attack might have changed: what an admin sees, the keys, the files."""
        lists = [
            self.admin.client.get(path, params={"limit": 500}).json() for path in ("/datasets", "/jobs", "/models")
        ]
        held = [(row.id, row.scope, row.revoked_at) for row in keys.listed(self.database)]
        root = self.running.data_dir
        names = "datasets", "models", "staging", "predictions"
        files = sorted(str(path) for name in names for path in (root / name).rglob("*"))
        return lists, held, files

    def __enter__(self) -> Self:
        self.running.__enter__()
        self.admin = self._hold(self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for holder in self._made:
            holder.client.close()
        self.running.__exit__(kind, error, trace)
        self.database.dispose()
