"""What is deleted by one client while it is read by another."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.responses import FileResponse, StreamingResponse

from app.database import DatabaseTime
from app.datasets import export
from app.datasets.catalogue import Catalogue
from app.datasets.dataset import Dataset
from app.datasets.ingest import Choices
from app.datasets.synthetic import SyntheticLinear
from app.edge.gate import Gate
from app.identifiers import new_id
from app.main import create_app
from app.migrate import migrate
from app.models import results
from app.services import Services
from app.settings import Settings
from app.tables import JobRow
from tests.unit.asgi import call, problem


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Gate]:
    """An application with a dataset, `line`."""
    made = create_app(Settings(data_dir=tmp_path, workers=0, auth="off"))
    services: Services = made.api.state.services
    migrate(services.database)
    services.catalogue.create(SyntheticLinear([2.0, -3.4], 4.2, rows=20).content(), Choices(), "line")
    yield made
    services.close()


@pytest.fixture
def catalogue(app: Gate) -> Catalogue:
    found: Catalogue = app.api.state.services.catalogue
    return found


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/datasets/line/rows", {}),
        ("GET", "/datasets/line/rows", {"headers": {"Accept": "text/csv"}}),
        ("GET", "/datasets/line/data?format=csv", {}),
        ("GET", "/datasets/line/data?format=parquet", {}),
        ("GET", "/datasets/line/plot?x=x1&y=y", {}),
        ("POST", "/jobs", {"json": {"dataset": "line", "model": "softmax"}}),
    ],
)
def test_a_dataset_that_is_deleted_before_its_values_are_read_is_not_found(
    app: Gate, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, method: str, path: str, options: dict[str, Any]
):
    files = catalogue.files

    def doomed(dataset_id: str) -> Dataset:
        found = files(dataset_id)
        catalogue.delete(dataset_id)
        return found

    monkeypatch.setattr(catalogue, "files", doomed)

    problem(call(app, method, path, **options), 404, "dataset-not-found")


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Any], Callable[[], None]], None]:
    """Let something happen before a reply of some kind is sent."""

    def later(kind: type[Any], happen: Callable[[], None]) -> None:
        reply = kind.__call__

        async def late(self: Any, *call: Any) -> None:
            happen()
            await reply(self, *call)

        monkeypatch.setattr(kind, "__call__", late)

    return later


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_download_that_was_let_in_comes_whole_though_its_dataset_is_deleted(
    app: Gate, catalogue: Catalogue, before: Callable[..., None], monkeypatch: pytest.MonkeyPatch, form: str
):
    monkeypatch.setattr(export, "BLOCK_BYTES", 1)
    path = f"/datasets/line/data?format={form}"
    whole = call(app, "GET", path)
    before(StreamingResponse, lambda: catalogue.delete("line"))

    reply = call(app, "GET", path)

    assert (reply.status_code, reply.content) == (200, whole.content)
    assert call(app, "GET", path).status_code == 404


@pytest.fixture
def job(app: Gate) -> str:
    """A batch prediction that is over."""
    services: Services = app.api.state.services
    about = {"id": new_id(), "spec": {}, "model": "linear", "requested_device": "cpu", "epochs": 1, "attempt": 1}
    with services.storage.stage() as stage, services.database.write() as session:
        pq.write_table(pa.table({"prediction": [1.0, 2.0]}), stage.path / results.FILE)
        stage.publish(results.key(str(about["id"]), 1))
        session.add(JobRow(**about, kind="predict", status="succeeded", created_at=DatabaseTime()))
    return str(about["id"])


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        (StreamingResponse, {"Accept": "text/csv"}),
        (FileResponse, {}),
        (FileResponse, {"Range": "bytes=0-3"}),
        (FileResponse, {"Range": "bytes=0-3,-4"}),
    ],
)
def test_predictions_whose_download_was_let_in_come_though_their_job_is_deleted(
    app: Gate, job: str, before: Callable[..., None], kind: type[Any], headers: dict[str, str]
):
    def delete() -> None:
        app.api.state.services.queue.delete(job)
        app.api.state.services.results.delete(job)

    path = f"/jobs/{job}/predictions"
    first = call(app, "GET", path, headers=headers)
    before(kind, delete)

    reply = call(app, "GET", path, headers=headers)

    assert (reply.status_code, len(reply.content)) == (first.status_code, len(first.content))
    assert reply.is_success
    problem(call(app, "GET", path, headers=headers), 404, "job-not-found")


def test_predictions_of_a_job_that_is_deleted_before_they_are_opened_are_not_found(app: Gate, job: str):
    services: Services = app.api.state.services
    services.results.delete(job)

    for form in "csv", "parquet":
        problem(call(app, "GET", f"/jobs/{job}/predictions?format={form}"), 404, "result-not-found")
