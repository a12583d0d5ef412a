"""A crowd: many client threads that submit, look, list, cancel and delete at once, on one database."""

import random
import threading
import time
from collections import Counter
from typing import Any

import httpx

from tests.running_server import RunningServer

SPEC = {"model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03}

PATIENCE_SECONDS = 300


class Crowd:
    """Clients, and what they were told."""

    def __init__(self, server: RunningServer, dataset: str) -> None:
        self.server = server
        self.dataset = dataset
        self.replies: Counter[tuple[str, int]] = Counter()
        self.acknowledged: set[str] = set()
        self.deleted: set[str] = set()
        self.cancelled: set[str] = set()

    def run(self, seconds: float, clients: int = 8) -> None:
        """Let them work, then wait until every job is over."""
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._client, args=(number, end)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for job in self.acknowledged - self.deleted:
            while self.server.client.get(f"/jobs/{job}", headers={"Prefer": "wait=60"}).status_code != 200:
                assert time.monotonic() < end + PATIENCE_SECONDS, f"job {job} does not end"

    def _client(self, number: int, end: float) -> None:
        chance = random.Random(number)
        mine: list[str] = []
        with httpx.Client(base_url=self.server.url, timeout=60, trust_env=False) as client:
            while time.monotonic() < end:
                action = chance.choice(["submit", "submit", "look", "list", "cancel", "delete"])
                if action == "submit":
                    spec = {**SPEC, "dataset": self.dataset, "epochs": chance.choice([1, 3, 300])}
                    reply = client.post("/jobs", json=spec)
                    mine.append(reply.json()["id"])
                    self.acknowledged.add(mine[-1])
                elif action == "list":
                    reply = client.get("/jobs", params={"limit": 20})
                elif mine:
                    reply = self._touch(client, action, chance.choice(mine), mine)
                else:
                    continue
                self.replies[action, reply.status_code] += 1

    def _touch(self, client: httpx.Client, action: str, job: str, mine: list[str]) -> httpx.Response:
        if action == "look":
            return client.get(f"/jobs/{job}")
        if action == "cancel":
            reply = client.post(f"/jobs/{job}/cancel")
            if reply.status_code == 202:
                self.cancelled.add(job)
            return reply
        reply = client.delete(f"/jobs/{job}")
        if reply.status_code == 204:
            mine.remove(job)
            self.deleted.add(job)
        return reply

    def check(self) -> str:
        """No reply was a fault, and what was acknowledged is so; a line about it."""
        faults = {reply: count for reply, count in self.replies.items() if reply[1] not in (200, 202, 204, 409)}
        assert not faults, faults
        assert "database is locked" not in self.server.log.read_text()
        jobs = {job["id"]: job for job in self._jobs()}
        assert set(jobs) == self.acknowledged - self.deleted
        for job in jobs.values():
            expected = ("succeeded", "cancelled") if job["id"] in self.cancelled else ("succeeded",)
            assert job["status"] in expected, job
            assert job["attempt"] == 1
            if job["status"] == "succeeded":
                assert job["progress"]["fraction"] == 1
        return f"{sum(self.replies.values())} requests, {len(self.acknowledged)} jobs: no lock, no lost update"

    def _jobs(self) -> list[dict[str, Any]]:
        items, cursor = [], {}
        while cursor is not None:
            found = self.server.client.get("/jobs", params={"limit": 500, **cursor}).json()
            items += found["items"]
            cursor = {"cursor": found["next_cursor"]} if found["next_cursor"] else None
        return items
