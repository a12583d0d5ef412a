"""Who sees what, and who may change it: the one place that decides."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.access.scope import Scope
from app.access.viewer import NOBODY, SERVICE, Viewer, check_own, viewer, visible, working_for
from app.database import Database
from app.errors import Forbidden, ModelNameTaken, ModelNotFound, NoOwner, NotOwner
from app.identifiers import new_id
from app.models import names
from app.models.registry import Registry
from app.storage import Storage
from app.tables import DatasetRow, JobRow, ModelNameRow, ModelRow

ANN, BOB, ADMIN = Viewer(Scope.WRITE, "ann", "a1"), Viewer(Scope.WRITE, "bob", "b1"), Viewer(Scope.ADMIN, "adm", "c1")


@pytest.fixture(autouse=True)
def _as_the_service() -> Iterator[None]:
    with working_for(SERVICE):
        yield


def datasets(database: Database) -> None:
    about = {"rows": 1, "bytes": 1, "sha256": "", "columns": [], "splits": {}, "created_at": datetime.now(UTC)}
    with database.write() as session:
        for owner in ("ann", "bob", None):
            for shared in (False, True):
                session.add(DatasetRow(id=f"{owner} {shared}", owner=owner, shared=shared, **about))


def job(database: Database, owner: str | None, **values: Any) -> str:
    about = {"spec": {}, "model": "linear", "requested_device": "cpu", "epochs": 1, "created_at": datetime.now(UTC)}
    job_id = new_id()
    with database.write() as session:
        session.add(JobRow(id=job_id, owner=owner, **{**about, "status": "queued", **values}))
    return job_id


def model(database: Database, registry: Registry, name: str | None, **values: Any) -> ModelRow:
    about = {"kind": "linear", "features": [], "target": ["y"], "metrics": {}}
    with database.write() as session:
        return registry.add(session, new_id(), name, **about, **values)


@pytest.mark.parametrize(
    ("whom", "expected"),
    [
        (SERVICE, {"ann False", "ann True", "bob False", "bob True", "None False", "None True"}),
        (ADMIN, {"ann False", "ann True", "bob False", "bob True", "None False", "None True"}),
        (ANN, {"ann False", "ann True", "bob True", "None False", "None True"}),
        (Viewer(Scope.PREDICT, "bob"), {"bob False", "bob True", "ann True", "None False", "None True"}),
        (Viewer(Scope.READ, "new"), {"bob True", "ann True", "None False", "None True"}),
        (NOBODY, set()),
    ],
)
def test_one_sees_ones_own_what_is_shared_and_what_is_nobodys(
    database: Database, whom: Viewer, expected: set[str]
) -> None:
    datasets(database)
    with working_for(whom), database.read() as session:
        assert set(session.scalars(select(DatasetRow.id).where(visible(DatasetRow)))) == expected


def test_jobs_are_never_shared(database: Database) -> None:
    made = {owner: job(database, owner) for owner in ("ann", "bob", None)}
    with working_for(ANN), database.read() as session:
        assert set(session.scalars(select(JobRow.id).where(visible(JobRow)))) == {made["ann"], made[None]}


@pytest.mark.parametrize(
    ("whom", "owner", "refusal"),
    [
        (ANN, "ann", None),
        (ANN, "bob", NotOwner),
        (ANN, None, NoOwner),
        (ADMIN, "bob", None),
        (SERVICE, "bob", None),
        (NOBODY, None, NoOwner),
    ],
)
def test_one_changes_ones_own_alone(whom: Viewer, owner: str | None, refusal: type[Forbidden] | None) -> None:
    row = DatasetRow(owner=owner, shared=True)
    with working_for(whom):
        if refusal is None:
            check_own(row, "x")
        else:
            with pytest.raises(refusal):
                check_own(row, "x")


def test_a_viewer_is_one_requests_alone() -> None:
    with working_for(ANN):
        with working_for(BOB):
            assert viewer() is BOB
        assert viewer() is ANN
    assert viewer() is SERVICE


@pytest.fixture
def registry(database: Database, storage: Storage) -> Registry:
    return Registry(database, storage)


def test_versions_belong_to_the_owner_of_the_name(database: Database, registry: Registry) -> None:
    first = model(database, registry, "fashion", owner="ann")
    second = model(database, registry, "fashion", owner="adm")

    assert (first.owner, second.owner) == ("ann", "ann")
    with working_for(BOB), pytest.raises(ModelNotFound):
        registry.get("fashion")


def test_a_version_is_shared_as_the_one_before_it_unless_something_else_is_said(
    database: Database, registry: Registry
) -> None:
    shares: list[bool | None] = [None, True, None, False, None]
    made = [model(database, registry, "fashion", owner="ann", shared=shared) for shared in shares]

    assert [row.shared for row in made] == [False, True, True, False, False]
    with working_for(BOB):
        assert registry.get("fashion").version == 3
        assert [row.version for row in registry.versions("fashion")] == [2, 3]


def claim(database: Database, whom: Viewer, name: str = "fashion") -> str | None:
    with working_for(whom), database.write() as session:
        names.claim(session, name)
    with database.read() as session:
        return session.get_one(ModelNameRow, name).owner


def test_a_name_is_its_first_owners_while_there_is_a_model_or_a_job_that_will_leave_one(
    database: Database, registry: Registry
) -> None:
    assert claim(database, ANN) == "ann"
    assert claim(database, BOB) == "bob"
    waiting = job(database, "bob", spec={"model_name": "fashion"})
    with pytest.raises(ModelNameTaken):
        claim(database, ANN)
    with database.write() as session:
        session.get_one(JobRow, waiting).status = "failed"
    assert claim(database, ANN) == "ann"
    kept = model(database, registry, "fashion", owner="ann")
    with pytest.raises(ModelNameTaken):
        claim(database, BOB)
    assert claim(database, ADMIN) == "ann"
    with database.write() as session:
        session.delete(session.get_one(ModelRow, kept.id))
    assert claim(database, BOB) == "bob"
    assert model(database, registry, "fashion", owner="bob").version == 2


def test_a_name_that_is_nobodys_is_not_taken_from_those_who_use_it(database: Database, registry: Registry) -> None:
    model(database, registry, "fashion")

    with pytest.raises(ModelNameTaken):
        claim(database, ANN)
    assert claim(database, SERVICE) is None


def test_a_replay_takes_no_name(database: Database) -> None:
    job(database, "bob", spec={"model_name": "fashion"}, replay_of=new_id())

    assert claim(database, ANN) == "ann"
