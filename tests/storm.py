"""A storm: clients go about their work while processes are killed or held up at random moments."""

import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.patience import until
from tests.running_server import RunningServer

LEASE_SECONDS = 2.0
SETTINGS = {
    "attempts": 10_000, "checkpoint_seconds": 0.2, "workers": 2, "cleanup_seconds": 1, "lease_seconds": LEASE_SECONDS,
}  # fmt: skip
SPECS: tuple[dict[str, Any], ...] = (
    {"model": "linear", "epochs": 4000, "batch_size": 10, "learning_rate": 1e-3, "momentum": 0.9},
    {"model": "linear", "epochs": 900, "batch_size": 64, "learning_rate": 1e-3, "lr_schedule": {"type": "cosine"}},
    {"model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03},
)
SOURCE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 5000, "noise_std": 0.01, "seed": 0}


class Storm:
    """Runs clients and the killer, then looks at what is left.

    A worker that is held up for longer than its lease has lost its job to another, and knows nothing of it when it
    goes on in the middle of whatever it did.
    """

    def __init__(self, server: RunningServer, seed: int = 0) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.kills: dict[str, int] = {}
        self.thaws: list[threading.Timer] = []
        self.datasets: dict[str, str] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.batches: list[str] = []
        self.faults: list[str] = []
        self.source = server.create_dataset(SOURCE)["id"]

    def run(self, kills: int, freezes: int, clients: int = 4) -> None:
        """Let it rage until so many processes are killed and held up, then wait until every job is over."""
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        blows = [self._kill] * kills + [self._freeze] * freezes
        self.random.shuffle(blows)
        try:
            for blow in blows:
                time.sleep(self.random.uniform(0.05, 1.0))
                # Workers that die young are replaced late: then it is the others' turn.
                while not (blow() or self._kill()):
                    time.sleep(self.random.uniform(0.05, 0.5))
        finally:
            self.over.set()
            for thread in (*threads, *self.thaws):
                thread.join()
        for job in (*self.jobs, *self.batches):
            while self._wait_for(job).status_code != 200:
                pass

    def _wait_for(self, job: str) -> httpx.Response:
        return insist(lambda: self.server.client.get(f"/jobs/{job}", headers={"Prefer": "wait=30"}))

    # ── the killer ───────────────────────────────────────────────────────────────────────────────────────────────

    def _kill(self) -> bool:
        server = self.server.process
        assert server is not None
        supervisors = children(server.pid)
        kind = self.random.choices(["worker", "supervisor", "server"], [12, 1, 2])[0]
        victims = {"worker": self._workers(), "supervisor": supervisors, "server": [server.pid]}[kind]
        if not self._send(signal.SIGKILL, victims):
            return False
        self._count(f"{kind} killed")
        if kind == "server":
            server.wait()
            self.server.start()
        return True

    def _freeze(self) -> bool:
        worker = self._send(signal.SIGSTOP, self._workers())
        if worker is None:
            return False
        self._count("worker held up")
        seconds = LEASE_SECONDS + self.random.uniform(0.1, 1.0)
        self.thaws.append(threading.Timer(seconds, self._send, (signal.SIGCONT, [worker])))
        self.thaws[-1].start()
        return True

    def _workers(self) -> list[int]:
        assert self.server.process is not None
        return [worker for supervisor in children(self.server.process.pid) for worker in children(supervisor)]

    def _send(self, what: int, victims: list[int]) -> int | None:
        """To one of them; returns which, if it was there still."""
        if not victims:
            return None
        victim = self.random.choice(victims)
        try:
            os.kill(victim, what)
        except ProcessLookupError:
            return None
        return victim

    def _count(self, blow: str) -> None:
        self.kills[blow] = self.kills.get(blow, 0) + 1

    # ── the clients ──────────────────────────────────────────────────────────────────────────────────────────────

    def _client(self, number: int) -> None:
        chance = random.Random(number)
        with httpx.Client(base_url=self.server.url, timeout=30, trust_env=False) as client:
            turn = 0
            while not self.over.is_set():
                turn += 1
                work = chance.choice(
                    [self._upload, self._train, self._train, self._watch, self._cancel, self._predict, self._batch]
                )
                try:
                    work(client, chance, f"{number}-{turn}")
                except AssertionError as fault:
                    self.faults.append(f"{work.__name__}: {fault}")
                time.sleep(chance.uniform(0, 0.2))

    def _upload(self, client: httpx.Client, chance: random.Random, key: str) -> None:
        rows = "\n".join(f"{chance.random()},{chance.random()}" for _ in range(chance.randint(1, 5000)))
        headers = {"Content-Type": "text/csv", "Idempotency-Key": key}
        made = insist(lambda: client.post("/datasets", content=f"a,b\n{rows}\n", headers=headers))
        assert made.status_code == 201, made.text
        self.datasets[made.json()["id"]] = made.json()["sha256"]

    def _train(self, client: httpx.Client, chance: random.Random, key: str) -> None:
        spec = {**chance.choice(SPECS), "dataset": self.source, "model_name": f"model-{key}"}
        made = insist(lambda: client.post("/jobs", json=spec, headers={"Idempotency-Key": key}))
        assert made.status_code == 202, made.text
        self.jobs[made.json()["id"]] = spec

    def _watch(self, client: httpx.Client, chance: random.Random, key: str) -> None:
        """Every epoch once and in order, over however many connections."""
        job = chance.choice(list(self.jobs) or [""])
        last, seen = "", 0
        while job and not last.endswith(".over") and not self.over.is_set():
            headers = {"Last-Event-ID": last} if last else {}
            with suppress(httpx.TransportError), client.stream("GET", f"/jobs/{job}/events", headers=headers) as reply:
                for line in reply.iter_lines():
                    if line.startswith("id: "):
                        last = line.removeprefix("id: ")
                        epoch = int(last.removeprefix(f"{job}:").removesuffix(".over"))
                        assert last.endswith(".over") or epoch == seen + 1, f"{last} after {seen}"
                        seen = epoch

    def _cancel(self, client: httpx.Client, chance: random.Random, key: str) -> None:
        if self.jobs and chance.random() < 0.3:
            job = chance.choice(list(self.jobs))
            reply = insist(lambda: client.post(f"/jobs/{job}/cancel"))
            assert reply.status_code in (202, 409), reply.text

    def _predict(self, client: httpx.Client, chance: random.Random, key: str) -> None:
        models = insist(lambda: client.get("/models")).json()["items"]
        if models:
            body = {"model": chance.choice(models)["id"], "instances": [[1.0, 2.0]]}
            reply = insist(lambda: client.post("/predict", json=body))
            assert reply.status_code == 200, reply.text

    def _batch(self, client: httpx.Client, chance: random.Random, key: str) -> None:
        models = insist(lambda: client.get("/models")).json()["items"]
        if models:
            path, body = f"/models/{chance.choice(models)['id']}/predictions", {"dataset": self.source}
            made = insist(lambda: client.post(path, json=body, headers={"Idempotency-Key": key}))
            assert made.status_code == 202, made.text
            self.batches.append(made.json()["id"])

    # ── afterwards ───────────────────────────────────────────────────────────────────────────────────────────────

    def check(self) -> str:
        """Nothing that was acknowledged is lost, nothing is there twice, nothing is left over; a line about it."""
        assert self.faults == []
        for line in self.server.log.read_text().splitlines():
            json.loads(line)
        jobs = {job["id"]: job for job in self._everything("jobs")}
        models = {model["id"]: model for model in self._everything("models")}
        assert set(jobs) == {*self.jobs, *self.batches}, "a job is lost, or there twice"
        others = [job for job in jobs.values() if job["status"] not in ("succeeded", "cancelled")]
        assert not others, [(job["status"], job["attempt"], job["error"], self._told(job["id"])) for job in others]
        self._check_datasets()
        for batch in self.batches:
            self._check_batch(jobs.pop(batch))
        self._check_models(jobs, models)
        resumed = self._check_histories(jobs)
        self._check_files(models)
        killed = ", ".join(f"{count} × {blow}" for blow, count in sorted(self.kills.items()))
        attempts = sum(job["attempt"] > 1 for job in jobs.values())
        return (
            f"{killed}; {len(self.datasets)} datasets, {len(jobs)} jobs ({attempts} lost a worker, {resumed} of "
            f"them went on from a checkpoint), {len(models)} models, {len(self.batches)} batch predictions: all whole"
        )

    def _told(self, job_id: str) -> list[str]:
        """What the log says of a job."""
        return [line for line in self.server.log.read_text().splitlines() if job_id in line and '"request"' not in line]

    def _check_datasets(self) -> None:
        found = {dataset["id"]: dataset for dataset in self._everything("datasets")}
        assert set(found) == {*self.datasets, self.source}, "a dataset is lost, or there twice"
        for dataset_id, sha256 in self.datasets.items():
            assert found[dataset_id]["sha256"] == sha256
            rows = self.server.client.get(f"/datasets/{dataset_id}/rows", params={"limit": 1000}).json()["items"]
            assert len(rows) == min(1000, found[dataset_id]["rows"])

    def _check_batch(self, job: dict[str, Any]) -> None:
        rows = self.server.client.get(f"/jobs/{job['id']}/predictions", params={"format": "csv"}).text.splitlines()
        assert job["status"] == "succeeded"
        assert len(rows) == 1 + SOURCE["rows"]

    def _check_models(self, jobs: dict[str, Any], models: dict[str, Any]) -> None:
        of_jobs = [model["job_id"] for model in models.values()]
        assert len(set(of_jobs)) == len(of_jobs), "a job has two models"
        assert all(model["version"] == 1 for model in models.values())
        for job in jobs.values():
            assert job["model_id"] is not None or job["status"] == "cancelled"
            assert job["model_id"] is None or job["model_id"] in models
        for model in models:
            assert self.server.client.get(f"/models/{model}/coefficients").status_code == 200

    def _check_histories(self, jobs: dict[str, Any]) -> int:
        """Gapless, and with the bits of a run that nobody disturbed; how many jobs went on from a checkpoint."""
        calm = [self._calm(spec) for spec in SPECS]
        resumed = 0
        for job_id, job in jobs.items():
            history, epochs = self._history(job_id), job["progress"]["epoch"]
            assert [epoch["epoch"] for epoch in history] == list(range(1, epochs + 1))
            asked = self.jobs[job_id]
            expected, weights = next(run for run, spec in zip(calm, SPECS, strict=True) if is_of(asked, spec))
            assert history == expected[:epochs], f"job {job_id}, attempt {job['attempt']}: other bits"
            resumed += job["resumed_epoch"] is not None
            if job["status"] == "succeeded":
                assert epochs == job["progress"]["epochs"]
                assert self._weights(job["model_id"]) == weights
        return resumed

    def _calm(self, spec: dict[str, Any]) -> tuple[list[dict[str, Any]], bytes]:
        job = self.server.train(dataset=self.source, **spec)
        found = self._history(job["id"]), self._weights(job["model_id"])
        assert self.server.client.delete(f"/models/{job['model_id']}").status_code == 204
        return found

    def _check_files(self, models: dict[str, Any]) -> None:
        self.server.stop()
        self.server.start()
        data = self.server.data_dir
        assert {folder.name for folder in (data / "datasets").iterdir()} == {*self.datasets, self.source}
        assert {folder.name for folder in (data / "models").iterdir()} == set(models)
        kept = (folder.name.split(".")[0] for folder in data.glob("predictions/*"))
        assert sorted(kept) == sorted(self.batches)
        for collection in ("staging", "checkpoints"):
            until(partial(is_empty, data / collection))
        with sqlite3.connect(data / "onelayer.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert database.execute("SELECT count(*) FROM jobs WHERE status = 'running'").fetchone() == (0,)

    def _everything(self, collection: str) -> list[dict[str, Any]]:
        items, cursor = [], None
        while True:
            page = {"limit": 500} | ({"cursor": cursor} if cursor else {})
            found = self.server.client.get(f"/{collection}", params=page)
            items += found.json()["items"]
            cursor = found.json()["next_cursor"]
            if cursor is None:
                return items

    def _history(self, job_id: str) -> list[dict[str, Any]]:
        reply = self.server.client.get(f"/jobs/{job_id}/history", params={"limit": 100_000})
        return [{**epoch, "seconds": None} for epoch in reply.json()["items"]]

    def _weights(self, model_id: str) -> bytes:
        return (self.server.data_dir / "models" / model_id / "weights.safetensors").read_bytes()


def is_empty(folder: Path) -> bool:
    return not any(folder.glob("*"))


def is_of(asked: dict[str, Any], spec: dict[str, Any]) -> bool:
    """Whether a job was asked for with this spec."""
    return {name: asked[name] for name in spec if name in asked} == spec


def insist(call: Callable[[], httpx.Response]) -> httpx.Response:
    """Send it until there is a reply: a client whose server is restarted."""
    deadline = time.monotonic() + 120
    while True:
        with suppress(httpx.TransportError, json.JSONDecodeError):
            reply = call()
            assert reply.status_code != 500, reply.text
            if reply.status_code < 500 and reply.status_code != 429:
                return reply
        assert time.monotonic() < deadline, "no reply for two minutes"
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    """The processes that a process has started, by any of its threads: one of them replaces a supervisor that died."""
    found: list[int] = []
    with suppress(FileNotFoundError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError):
                found += map(int, (thread / "children").read_text().split())
    return found
