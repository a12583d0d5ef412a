"""The registry: what a name means at this moment."""

import pytest

from app.database import Database, DatabaseTime
from app.errors import InvalidRequest, ModelNotFound, SeveralVersions
from app.identifiers import new_id
from app.models import names
from app.models import registry as module
from app.models.registry import Registry, key
from app.storage import Storage
from app.tables import AliasRow
from tests.unit.models.conftest import Add, folders


def test_models_of_one_name_are_its_versions_1_2_3(add: Add):
    assert [add("fashion").version for _ in range(3)] == [1, 2, 3]
    assert add("houses").version == 1


def test_two_first_models_of_a_name_at_one_time_are_its_versions_1_and_2(
    add: Add, registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    """As on PostgreSQL: the name's row is not there when it is looked for, and is there when it is to be inserted."""
    add("fashion")
    looks = []
    count_on = module._counted_on
    monkeypatch.setattr(module, "_counted_on", lambda *about: count_on(*about) if looks else looks.append(about))

    assert add("fashion").version == 2
    assert add("fashion").version == 3
    assert [row.version for row in registry.versions("fashion")] == [1, 2, 3]


@pytest.mark.parametrize("name", ["fashion:1", "fashion@best"])
def test_an_alias_is_given_to_a_name_and_not_to_a_version(add: Add, registry: Registry, name: str):
    add("fashion")

    with pytest.raises(InvalidRequest, match="give the name alone, 'fashion'"):
        registry.set_alias(name, "champion", 1)
    with pytest.raises(InvalidRequest, match="give the name alone, 'fashion'"):
        registry.remove_alias(name, "champion")


def test_an_alias_is_given_to_a_name_and_not_to_an_id(add: Add, registry: Registry):
    model = add("fashion").id

    with pytest.raises(InvalidRequest, match="is a model's id; give its name"):
        registry.set_alias(model, "champion", 1)
    with pytest.raises(InvalidRequest, match="is a model's id; give its name"):
        registry.remove_alias(model, "champion")


def test_an_alias_that_two_give_at_one_time_is_theirs_who_came_last(add: Add, registry: Registry, database: Database):
    first, second = add("fashion"), add("fashion")
    registry.set_alias("fashion", "champion", 1)

    with database.write() as session:
        row = AliasRow(name="fashion", alias="champion", model_id=second.id, moved_at=DatabaseTime())
        assert not names.is_added(session, row)
        assert registry.get("fashion@champion").id == first.id

    assert registry.set_alias("fashion", "champion", 2).id == second.id
    assert registry.get("fashion@champion").id == second.id


def test_a_model_without_a_name_has_no_version(add: Add, registry: Registry):
    rows = [add(), add()]

    assert [(row.name, row.version) for row in rows] == [(None, None)] * 2
    assert registry.get(rows[0].id).id == rows[0].id


def test_a_name_means_its_newest_version(add: Add, registry: Registry):
    for number in range(1, 12):
        row = add("fashion")
        assert registry.get("fashion").id == row.id
        assert registry.get("fashion").version == number


def test_an_id_or_a_version_means_one_model_for_ever(add: Add, registry: Registry):
    rows = [add("fashion") for _ in range(3)]

    for number, row in enumerate(rows, 1):
        assert registry.get(f"fashion:{number}").id == registry.get(row.id).id == row.id


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "fashio",
        "Fashion",
        "fashion:2",
        "fashion:0",
        "fashion:01",
        "fashion:-1",
        "fashion:1.0",
        "fashion:",
        ":1",
        "fashion:1:1",
        "fashion@champion",
        "fashion:1\n",
        "fashion\n",
        "fashion:99999999999999999999",
        "0190a4e0-0000-7000-8000-000000000000",
    ],
)
def test_what_is_not_there_is_not_found(add: Add, registry: Registry, reference: str):
    add("fashion")

    with pytest.raises(ModelNotFound):
        registry.get(reference)


def test_a_deleted_model_leaves_no_file_and_its_name_means_the_one_before(
    add: Add, registry: Registry, storage: Storage
):
    first, second = add("fashion"), add("fashion")

    registry.delete("fashion:2")

    assert folders(storage) == {first.id}
    assert registry.get("fashion").id == first.id
    for gone in (second.id, "fashion:2"):
        with pytest.raises(ModelNotFound):
            registry.get(gone)
        with pytest.raises(ModelNotFound):
            registry.delete(gone)


def test_a_name_passes_over_what_a_failed_job_has_left(add: Add, registry: Registry):
    whole = add("fashion")
    partial = add("fashion", partial=True)

    assert registry.get("fashion").id == whole.id
    assert registry.get("fashion:2").id == partial.id
    assert add("fashion").id == registry.get("fashion").id


def test_a_name_whose_versions_are_all_partial_means_the_newest_of_them(add: Add, registry: Registry):
    add("fashion", partial=True)
    newest = add("fashion", partial=True)

    assert registry.get("fashion").id == newest.id


def test_a_new_version_is_shared_as_the_one_that_the_name_means(add: Add):
    add("fashion", shared=True)
    add("fashion", partial=True, shared=False)

    assert add("fashion").shared


def test_a_name_of_several_versions_deletes_none_and_says_what_would(add: Add, registry: Registry):
    for _ in range(12):
        row = add("fashion")

    with pytest.raises(SeveralVersions, match=r"12 versions; say which one, or its id: fashion:12, .*fashion:3, …"):
        registry.delete("fashion")
    assert len(registry.versions("fashion")) == 12

    registry.delete(row.id)
    assert len(registry.versions("fashion")) == 11


def test_a_name_of_one_version_deletes_it(add: Add, registry: Registry):
    add("fashion")

    registry.delete("fashion")

    assert registry.versions("fashion") == []


def test_the_number_of_a_deleted_version_in_the_middle_stays_free(add: Add, registry: Registry):
    for _ in range(3):
        add("fashion")

    registry.delete("fashion:2")

    assert add("fashion").version == 4
    with pytest.raises(ModelNotFound):
        registry.get("fashion:2")


def test_pages_are_newest_first_and_complete(add: Add, registry: Registry):
    made = [add("fashion").id for _ in range(3)] + [add("houses").id]

    first = registry.page(2)
    second = registry.page(2, before=first[-1].id)

    assert [row.id for row in first + second] == made[::-1]
    assert registry.page(2, before=second[-1].id) == []


def test_a_list_is_narrowed_to_one_name(add: Add, registry: Registry):
    made = [add("fashion").id for _ in range(2)]
    add("houses")

    assert [row.id for row in registry.page(9, name="fashion")] == made[::-1]
    assert registry.page(9, name="nobody") == []


def test_a_row_that_was_not_committed_names_nothing(database: Database, registry: Registry):
    def fail() -> None:
        with database.write() as session:
            registry.add(session, new_id(), "fashion", kind="linear", features=[], target=["y"], metrics={})
            raise RuntimeError("the job's last write failed")

    with pytest.raises(RuntimeError):
        fail()

    with pytest.raises(ModelNotFound):
        registry.get("fashion")


def test_the_sweep_removes_files_that_no_model_has_and_no_others(add: Add, registry: Registry, storage: Storage):
    kept = add("fashion")
    with storage.stage() as stage:
        (stage.path / "x").write_text("")
        stage.publish(key("orphan"))

    assert registry.sweep() == ["models/orphan"]
    assert folders(storage) == {kept.id}


def test_the_sweep_spares_a_model_whose_row_is_about_to_be_written(
    database: Database, registry: Registry, storage: Storage
):
    model_id = new_id()
    with storage.stage() as stage:
        (stage.path / "x").write_text("")
        stage.publish(key(model_id))
        assert registry.sweep() == []
        with database.write() as session:
            registry.add(session, model_id, None, kind="linear", features=[], target=["y"], metrics={})

    assert registry.sweep() == []
    assert folders(storage) == {model_id}
