"""Starting, stopping and dying: what a server leaves running, on disk and in the database."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.migrate import head
from tests.patience import until
from tests.running_server import RunningServer
from tests.storm import children

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 20_000}
SLOW = {"model": "linear", "epochs": 1_000_000, "batch_size": 1, "learning_rate": 1e-6}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that the test may kill."""
    running = RunningServer(tmp_path / "data", lease_seconds=2)
    running.start()
    yield running
    running.client.close()
    if running.process is not None and running.process.poll() is None:
        running.stop()


def family(process: int) -> set[int]:
    """A process and everything that descends from it."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, todo = {process}, [process]
    while todo:
        fresh = children.get(todo.pop(), [])
        found |= set(fresh)
        todo += fresh
    return found


def alive(processes: set[int]) -> set[int]:
    """Those that still run; a zombie does not."""
    listed = subprocess.run(["ps", "-eo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    running = {int(line.split()[0]) for line in listed.splitlines() if not line.split()[1].startswith("Z")}
    return processes & running


def job_of(server: RunningServer, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get(f"/jobs/{job['id']}").json()
    return found


def start_slow_job(server: RunningServer) -> dict[str, Any]:
    dataset = server.create_dataset(LINE)
    job: dict[str, Any] = server.client.post("/jobs", json={**SLOW, "dataset": dataset["id"]}).json()
    until(lambda: job_of(server, job)["status"] == "running")
    return job


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(own: RunningServer, how: int) -> None:
    start_slow_job(own)
    assert own.process is not None
    members = family(own.process.pid)
    assert len(members) >= 3, "the server, the supervisor, and a worker"
    assert own.stop(how) == 0
    until(lambda: not alive(members))


def requests_in_progress(server: RunningServer) -> int:
    """How many the server is at work on, the one for this number among them."""
    metrics = server.client.get("/metrics").text
    (found,) = re.findall(r"^onelayer_http_requests_in_progress (\d+)", metrics, re.MULTILINE)
    return int(found)


def test_a_waiting_request_does_not_hold_up_the_stop(own: RunningServer) -> None:
    job = start_slow_job(own)
    with socket.create_connection(("127.0.0.1", own.port)) as waiting:
        waiting.sendall(f"GET /jobs/{job['id']} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n".encode())
        until(lambda: requests_in_progress(own) == 2)
        assert own.stop() == 0
        # Who is cut off, since the server's patience has ended, has no reply.
        assert waiting.recv(100).startswith(b"HTTP/1.1 202")


def test_a_server_whose_port_is_taken_ends_and_the_other_is_not_taken_for_it(
    own: RunningServer, tmp_path: Path
) -> None:
    late = RunningServer(tmp_path / "late", workers=0, ready="/healthz")
    late.port = own.port
    with pytest.raises(AssertionError, match="the server ended"), late:
        pass


def test_a_stopped_server_hands_its_job_back_and_goes_on_with_it_when_it_starts_again(own: RunningServer) -> None:
    job = start_slow_job(own)
    own.stop()
    own.start()
    until(lambda: job_of(own, job)["status"] == "running")
    assert job_of(own, job)["attempt"] == 1


def test_a_server_killed_in_mid_upload_and_mid_job_leaves_nothing_half_done(own: RunningServer) -> None:
    job = start_slow_job(own)
    assert own.process is not None
    members = family(own.process.pid)
    began = job_of(own, job)["started_at"]
    with socket.create_connection(("127.0.0.1", own.port)) as upload:
        head = (
            "POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 100000000\r\n\r\n"
        )
        upload.sendall(head.encode() + b"a,b\n" + b"1,2\n" * 1_000_000)
        staging = own.data_dir / "staging"
        until(lambda: list(staging.iterdir()))
        own.process.kill()
        own.process.wait()
    until(lambda: not alive(members))
    assert list(staging.iterdir()), "the kill came too late to prove anything"
    own.start()
    assert not list(staging.iterdir())
    listed = {dataset["id"] for dataset in own.client.get("/datasets").json()["items"]}
    assert {folder.name for folder in (own.data_dir / "datasets").iterdir()} == listed
    assert len(listed) == 1
    until(lambda: job_of(own, job)["started_at"] not in (None, began))
    assert own.client.post(f"/jobs/{job['id']}/cancel").status_code == 202
    over = own.client.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=30"}).json()
    assert over["status"] == "cancelled"


def test_a_worker_that_is_killed_is_replaced_and_its_job_is_tried_again(own: RunningServer) -> None:
    job = start_slow_job(own)
    assert own.process is not None
    workers = family(own.process.pid) - {own.process.pid}
    newest = max(workers)
    os.kill(newest, signal.SIGKILL)
    until(lambda: job_of(own, job)["attempt"] == 2)
    own.client.post(f"/jobs/{job['id']}/cancel")
    over = own.client.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=30"}).json()
    assert over["status"] == "cancelled"


def test_a_job_whose_worker_dies_in_every_attempt_is_failed_with_the_reason(own: RunningServer) -> None:
    job = start_slow_job(own)
    assert own.process is not None
    deadline = time.monotonic() + 60
    while (found := own.client.get(f"/jobs/{job['id']}").json())["status"] in ("queued", "running"):
        assert time.monotonic() < deadline
        workers = [worker for supervisor in children(own.process.pid) for worker in children(supervisor)]
        if found["status"] == "running" and workers:
            os.kill(workers[0], signal.SIGKILL)
        time.sleep(0.2)
    assert found["status"] == "failed"
    assert found["attempt"] == 3
    assert found["error"]["code"] == "worker-lost"


def test_cancelling_keeps_what_was_learned_as_a_partial_model(own: RunningServer) -> None:
    job = start_slow_job(own)
    seen = len(until(lambda: own.history(job)))
    own.client.post(f"/jobs/{job['id']}/cancel")
    over = own.client.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=30"}).json()
    assert over["status"] == "cancelled"
    assert len(own.history(job)) >= seen
    assert own.client.get(f"/models/{over['model_id']}").json()["partial"] is True


def test_the_api_process_imports_neither_torch_nor_numba(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from app.main import create_app; from app.settings import Settings\n"
        "import app.server, app.__main__\n"
        f"create_app(Settings(data_dir=Path({str(tmp_path)!r}))).api.openapi()\n"
        "print(sorted({'torch', 'numba'} & sys.modules.keys()))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_the_running_api_process_has_not_loaded_torch_or_numba(own: RunningServer) -> None:
    dataset = own.create_dataset({**LINE, "rows": 100})
    job = own.train(dataset=dataset["id"], model="linear")
    assert own.client.post("/predict", json={"model": job["model_id"], "instances": [[1, 2]]}).status_code == 200
    assert own.process is not None
    mapped = Path(f"/proc/{own.process.pid}/maps")
    if not mapped.exists():
        pytest.skip("this system has no /proc to look at")
    assert "libtorch" not in mapped.read_text()
    assert "llvmlite" not in mapped.read_text()


def test_a_worker_by_itself_serves_the_queue_of_a_server_without_workers(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", ready="/healthz", workers=0) as server:
        assert server.client.get("/readyz").status_code == 503
        dataset = server.create_dataset({**LINE, "rows": 100})
        command = [sys.executable, "-m", "app", "worker", "--data-dir", str(server.data_dir)]
        worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            assert server.train(dataset=dataset["id"], model="linear")["status"] == "succeeded"
            assert server.client.get("/readyz").status_code == 200
        finally:
            members = family(worker.pid)
            worker.terminate()
            assert worker.wait(60) == 0
            until(lambda: not alive(members))


def test_a_port_in_use_is_said_before_anything_else_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "app", "serve", "--port", port, "--data-dir", str(tmp_path / "data")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert f"Port {port} of 127.0.0.1 is in use" in said
    assert not (tmp_path / "data").exists()


def test_migrate_alone_prepares_a_database(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app", "migrate", "--data-dir", str(tmp_path / "data")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert head() in said
    assert (tmp_path / "data" / "onelayer.db").exists()
