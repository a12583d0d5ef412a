"""Backup and restore: what comes back is what was there, and a damaged file is refused."""

import io
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.running_server import RunningServer

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 500, "seed": 0}
SPEC = {"model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03, "model_name": "line"}


def onelayer(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def everything(server: RunningServer) -> dict[str, Any]:
    client = server.client
    lists = {name: client.get(f"/{name}", params={"limit": 500}).json()["items"] for name in ("datasets", "models")}
    jobs = client.get("/jobs", params={"status": "succeeded", "limit": 500}).json()["items"]
    histories = {job["id"]: server.history(job) for job in jobs}
    predicted = client.post("/predict", json={"model": "line", "instances": [[1.0, 2.0]]}).json()
    files = [client.get(f"/jobs/{job['id']}/predictions", headers={"Accept": "text/csv"}) for job in jobs]
    results = [(file.status_code, file.text[:40] if file.status_code == 200 else "") for file in files]
    return {**lists, "jobs": jobs, "histories": histories, "predicted": predicted, "results": results}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A backup that was written while clients submitted jobs and one job ran; what there was; the job that ran."""
    folder = tmp_path_factory.mktemp("backup")
    with RunningServer(folder / "data", checkpoint_seconds=0.2) as server:
        dataset = server.create_dataset(LINE, name="line")
        server.train(dataset="line", **SPEC)
        doomed = server.create_dataset(LINE)
        server.train(dataset=doomed["id"], **{**SPEC, "model_name": "other"})
        assert server.client.delete(f"/datasets/{doomed['id']}").status_code == 204
        asked = {"json": {"dataset": "line", "columns": ["y"]}, "headers": {"Prefer": "wait=30"}}
        assert server.client.post("/models/line/predictions", **asked).json()["status"] == "succeeded"
        before = everything(server)
        slow = {**SPEC, "epochs": 1_000_000, "batch_size": 1, "learning_rate": 1e-6}
        running = server.client.post("/jobs", json={"dataset": dataset["id"], **slow}).json()["id"]
        stop = threading.Event()

        def disturb() -> None:
            while not stop.is_set():
                made = server.create_dataset(LINE)
                server.client.delete(f"/datasets/{made['id']}")

        clients = [threading.Thread(target=disturb) for _ in range(2)]
        for client in clients:
            client.start()
        while server.client.get(f"/jobs/{running}").json()["progress"]["epoch"] == 0:
            pass
        done = onelayer("backup", folder / "kept.tar", "--data-dir", folder / "data")
        stop.set()
        for client in clients:
            client.join()
        assert done.returncode == 0, done.stderr
        assert onelayer("backup", folder / "kept.tar", "--data-dir", folder / "data").returncode == 1
        assert server.client.post(f"/jobs/{running}/cancel").status_code == 202
    return folder / "kept.tar", before, running


def test_a_restored_service_has_everything_and_goes_on_with_the_job_that_ran(
    kept: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    file, before, running = kept
    done = onelayer("restore", file, "--data-dir", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    again = onelayer("restore", file, "--data-dir", tmp_path / "data")
    assert again.returncode == 1
    assert "holds data already" in again.stderr
    with RunningServer(tmp_path / "data") as server:
        after = everything(server)
        # The backup may hold a dataset that a client was about to delete; its rows are whole then.
        for dataset in after["datasets"]:
            assert len(server.client.get(f"/datasets/{dataset['id']}/rows").json()["items"]) == 50
        listed = {dataset["id"] for dataset in after["datasets"]}
        assert {folder.name for folder in (tmp_path / "data" / "datasets").iterdir()} == listed
        after["datasets"] = [dataset for dataset in after["datasets"] if dataset["name"] == "line"]
        assert after == before
        job = server.client.get(f"/jobs/{running}").json()
        assert job["status"] in ("queued", "running")
        assert job["attempt"] == 1
        assert server.client.post(f"/jobs/{running}/cancel").status_code == 202
        over = server.client.get(f"/jobs/{running}", headers={"Prefer": "wait=10"}).json()
        assert over["status"] == "cancelled"


@pytest.mark.parametrize("name", ["../outside", "/tmp/onelayer-outside"])
def test_a_backup_with_a_file_outside_of_it_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "made.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    done = onelayer("restore", tmp_path / "made.tar", "--data-dir", tmp_path / "data")
    assert done.returncode == 1
    assert "is no file of a backup" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "data" / "staging" / "outside").exists()
    assert not Path("/tmp/onelayer-outside").exists()


@pytest.mark.parametrize("damage", ["a bit", "the end", "all"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    kept: tuple[Path, dict[str, Any], str], tmp_path: Path, damage: str
) -> None:
    data = bytearray(kept[0].read_bytes())
    if damage == "a bit":
        place = data.index(b"PAR1") + 10
        data[place] ^= 1
    elif damage == "the end":
        del data[-20_000:]
    else:
        data[:] = b"no backup"
    (tmp_path / "damaged.tar").write_bytes(data)
    done = onelayer("restore", tmp_path / "damaged.tar", "--data-dir", tmp_path / "data")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "datasets").exists()
    assert list((tmp_path / "data" / "staging").iterdir()) == []
    assert onelayer("restore", kept[0], "--data-dir", tmp_path / "data").returncode == 0


def test_a_backup_of_a_folder_with_other_things_leaves_it_as_it_was(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("")
    done = onelayer("backup", tmp_path / "kept.tar", "--data-dir", other)
    assert (done.returncode, "--data-dir" in done.stderr) == (1, True)
    assert list(other.iterdir()) == [other / "notes.txt"]


def test_a_backup_of_nothing_and_a_restore_of_nothing_leave_nothing(tmp_path: Path) -> None:
    done = onelayer("backup", tmp_path / "kept.tar", "--data-dir", tmp_path / "elsewhere")
    assert (done.returncode, "--data-dir" in done.stderr) == (1, True)
    done = onelayer("restore", tmp_path / "kept.tar", "--data-dir", tmp_path / "new")
    assert (done.returncode, "There is no file" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
