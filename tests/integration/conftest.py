"""A server that needs keys, with one owner's things in it, shared by the tests of one run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.guarded_server import GuardedServer, Holder


@dataclass(frozen=True)
class Estate:
    """What Ann has, and nobody else may see: a dataset, a job, a batch prediction, a model with an alias."""

    ann: Holder
    dataset: str
    job: dict[str, Any]
    batch: str
    model: str


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedServer]:
    """`onelayer serve` with one worker, where every call needs a key."""
    with GuardedServer(tmp_path_factory.mktemp("guarded") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def estate(guarded: GuardedServer) -> Estate:
    """Ann's."""
    ann = guarded.holder("write", name="ann")
    dataset = ann.make_line("anns-line")
    job = ann.train("anns-line", model_name="anns-model")
    reply = ann.client.put("/models/anns-model/aliases/anns-best", json={"version": 1})
    assert reply.status_code == 200, reply.text
    asked = {"dataset": "anns-line"}
    batch = ann.client.post("/models/anns-model/predictions", json=asked, headers={"Prefer": "wait=30"})
    assert batch.json()["status"] == "succeeded", batch.text
    return Estate(ann, dataset, job, batch.json()["id"], str(job["model_id"]))


@pytest.fixture(scope="session")
def bob(guarded: GuardedServer) -> Holder:
    """Another owner, who may write."""
    return guarded.holder("write", name="bob")
