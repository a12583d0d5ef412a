"""Metrics over HTTP: what Prometheus is shown of a server that works, and a dashboard that shows nothing else."""

import json
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.patience import until
from tests.running_server import RunningServer

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana.json"
LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 1000, "noise_std": 0.01, "seed": 0}
SPEC = {"model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03}


def samples(server: RunningServer) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    reply = server.client.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(server: RunningServer, name: str, **labels: str) -> float:
    return samples(server).get((name, frozenset(labels.items())), 0.0)


@pytest.fixture(autouse=True)
def nothing_is_left_to_do(server: RunningServer) -> None:
    """The server is shared: a job that an earlier test left behind would count among those of the test."""
    until(lambda: sum(value(server, "onelayer_jobs", status=status) for status in ("queued", "running")) == 0)


def test_requests_are_counted_by_route_and_status(server: RunningServer) -> None:
    labels = {"method": "GET", "route": "/datasets/{dataset}", "status": "404"}
    before = value(server, "onelayer_http_requests_total", **labels)

    for name in ("a", "b", "c"):
        server.client.get(f"/datasets/no-{name}")

    assert value(server, "onelayer_http_requests_total", **labels) == before + 3


def test_a_job_is_seen_in_every_number_that_it_changes(server: RunningServer) -> None:
    dataset = server.create_dataset(LINE)["id"]
    epochs, rows = value(server, "onelayer_epochs_total"), value(server, "onelayer_samples_total")
    models = value(server, "onelayer_models")

    job = server.train(dataset=dataset, **SPEC)

    assert value(server, "onelayer_models") == models + 1
    assert value(server, "onelayer_jobs", status="succeeded") >= 1
    until(lambda: value(server, "onelayer_epochs_total") == epochs + 3)
    assert value(server, "onelayer_samples_total") == rows + 3 * 1000
    hits = value(server, "onelayer_model_cache_hits_total")
    for _ in range(3):
        server.client.post("/predict", json={"model": job["model_id"], "instances": [[1, 2]]})
    assert value(server, "onelayer_model_cache_hits_total") >= hits + 2
    assert value(server, "onelayer_model_cache_misses_total") >= 1


def test_a_job_that_waits_makes_the_queue_deeper_and_older(server: RunningServer) -> None:
    dataset = server.create_dataset(LINE)["id"]
    spec = {**SPEC, "dataset": dataset, "epochs": 1_000_000}
    jobs = [server.client.post("/jobs", json=spec).json()["id"] for _ in range(2)]
    try:
        until(lambda: value(server, "onelayer_jobs", status="running") == 1)
        assert value(server, "onelayer_queue_depth") == 1
        age = value(server, "onelayer_queue_age_seconds")
        until(lambda: value(server, "onelayer_queue_age_seconds") > age > 0)
        until(lambda: value(server, "onelayer_samples_per_second") > 0)
    finally:
        for job in reversed(jobs):
            server.client.post(f"/jobs/{job}/cancel")
    until(lambda: value(server, "onelayer_queue_age_seconds") == 0)


def test_event_streams_and_connections_are_counted_while_they_are_open(server: RunningServer) -> None:
    dataset = server.create_dataset(LINE)["id"]
    job = server.client.post("/jobs", json={**SPEC, "dataset": dataset, "epochs": 1_000_000}).json()["id"]
    with httpx.stream("GET", f"{server.url}/jobs/{job}/events", trust_env=False) as stream:
        events = stream.iter_bytes()
        next(events)
        assert value(server, "onelayer_event_streams") >= 1
        until(lambda: value(server, "onelayer_http_connections") >= 2)
    server.client.post(f"/jobs/{job}/cancel")
    until(lambda: value(server, "onelayer_event_streams") == 0)


def test_memory_disk_and_workers_have_plausible_sizes(server: RunningServer) -> None:
    assert value(server, "onelayer_workers") == 1
    assert value(server, "onelayer_database_up") == 1
    assert 10e6 < value(server, "process_resident_memory_bytes") < 10e9
    assert 10e6 < value(server, "onelayer_worker_memory_bytes") < 10e9
    assert value(server, "onelayer_data_bytes") > 10_000
    assert value(server, "onelayer_disk_free_bytes") > 0
    assert value(server, "onelayer_database_bytes", file="database") >= 4096
    assert value(server, "onelayer_database_bytes", file="wal") > 10_000


def test_every_query_of_the_dashboard_names_metrics_that_exist(server: RunningServer) -> None:
    server.client.get("/datasets")
    named = {name for name, _ in samples(server)}
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [variable["query"] for variable in board["templating"]["list"]]

    used = {name for query in queries for name in re.findall(r"\b(?:onelayer|process)_\w+", query)}

    assert used <= named
    assert len(used) > 25


def test_every_metric_of_ours_is_on_the_dashboard(server: RunningServer) -> None:
    board = DASHBOARD.read_text()
    ours = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name, _ in samples(server) if "onelayer" in name}

    assert {name for name in ours if name not in board} == set()
