"""The disk is full while a job trains: the job waits, and nothing is corrupt."""

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import until
from tests.running_server import RunningServer

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 5000, "noise_std": 0.01, "seed": 0}
SPEC = {"model": "linear", "batch_size": 10, "learning_rate": 1e-4}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def server(small: Path) -> Iterator[RunningServer]:
    """A server with all of its data on the small disk, and its log elsewhere: what is said has room."""
    with RunningServer(small, checkpoint_seconds=0.2, disk_reserve_mib=0) as running:
        yield running


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def has_said(server: RunningServer, *words: str) -> bool:
    """Whether a line of the log has all of these words."""
    return any(all(word in line for word in words) for line in server.log.read_text().splitlines())


def fill_until_it_says(server: RunningServer, folder: Path, *words: str) -> Path:
    """Take all the room there is, and what becomes free meanwhile, until the log says so; returns what takes it."""
    until(lambda: fill(folder) and has_said(server, *words))
    return folder / "filler"


def job(server: RunningServer, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get(f"/jobs/{job_id}").json()
    return found


def is_whole(server: RunningServer, job_id: str) -> bool:
    """Whether the history is gapless and the database sound."""
    epochs = job(server, job_id)["progress"]["epoch"]
    items = server.client.get(f"/jobs/{job_id}/history", params={"limit": 100_000}).json()["items"]
    with sqlite3.connect(server.data_dir / "onelayer.db") as database:
        sound = database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    numbers = [item["epoch"] for item in items]
    return sound and numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= epochs


def submit(server: RunningServer, epochs: int) -> str:
    dataset = server.create_dataset(LINE)["id"]
    reply = server.client.post("/jobs", json={"dataset": dataset, **SPEC, "epochs": epochs})
    assert reply.status_code == 202, reply.text
    job_id: str = reply.json()["id"]
    until(lambda: job(server, job_id)["progress"]["epoch"] > 0)
    return job_id


def test_a_job_waits_while_its_history_has_no_room_and_goes_on_after(server: RunningServer, small: Path) -> None:
    job_id = submit(server, 1_000_000)
    filler = fill_until_it_says(server, small, "the history waits in memory")
    before = job(server, job_id)
    assert before["status"] == "running"
    filler.unlink()
    until(lambda: job(server, job_id)["progress"]["epoch"] > before["progress"]["epoch"] + 100)
    assert is_whole(server, job_id)
    assert server.client.post(f"/jobs/{job_id}/cancel").status_code == 202
    over = server.client.get(f"/jobs/{job_id}", headers={"Prefer": "wait=30"}).json()
    assert over["status"] == "cancelled"
    assert server.client.get(f"/models/{over['model_id']}/coefficients").status_code == 200
    assert over["attempt"] == 1


def test_a_job_that_ends_while_the_disk_is_full_waits_for_room(server: RunningServer, small: Path) -> None:
    job_id = submit(server, 15_000)
    filler = fill_until_it_says(server, small, "a job waits to be written", job_id)
    assert server.client.get("/healthz").status_code == 200
    refused = server.client.post("/datasets", json={"source": LINE})
    assert refused.status_code == 507
    assert refused.json()["type"].endswith("storage-full")
    filler.unlink()
    over = server.client.get(f"/jobs/{job_id}", headers={"Prefer": "wait=30"}).json()
    assert (over["status"], over["attempt"]) == ("succeeded", 1)
    assert is_whole(server, job_id)
    assert [model["id"] for model in server.client.get("/models").json()["items"]] == [over["model_id"]]
    assert [folder.name for folder in small.glob("models/*")] == [over["model_id"]]
    again = server.train(dataset=over["dataset_id"], **SPEC, epochs=3)
    assert again["status"] == "succeeded"
