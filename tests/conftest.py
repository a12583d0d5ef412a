"""What tests share: a real server with a real worker process, a database built by the migrations, the real data."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import ORMExecuteState, Session

from app.database import Database
from app.jobs.bell import Bell
from app.migrate import migrate
from app.storage import Storage
from tests.running_server import RunningServer

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with Fashion-MNIST, California housing and the penguins."""
    folder = Path(os.environ.get("ONELAYER_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder}; set ONELAYER_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """`onelayer serve` with one worker, as a process of its own, shared by all tests of one run."""
    with RunningServer(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database with the newest schema."""
    made = Database(f"sqlite:///{tmp_path / 'onelayer.db'}")
    migrate(made)
    yield made
    made.dispose()


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """Every statement of a session from now on, as PostgreSQL would be asked it."""
    found: list[str] = []

    def note(state: ORMExecuteState) -> None:
        found.append(str(state.statement.compile(dialect=postgresql.dialect())))

    event.listen(Session, "do_orm_execute", note)
    yield found
    event.remove(Session, "do_orm_execute", note)


@pytest.fixture
def cut_off(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the next write lose its connection just after it was committed."""

    def later() -> None:
        write, faults = database.write, [OperationalError("", {}, Exception("the server closed the connection"))]

        @contextmanager
        def losing() -> Iterator[Session]:
            with write() as session:
                yield session
            if faults:
                raise faults.pop()

        monkeypatch.setattr(database, "write", losing)

    return later


@pytest.fixture
def bell() -> Iterator[Bell]:
    """A bell that nobody has rung."""
    made = Bell()
    yield made
    made.close()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty storage."""
    return Storage(tmp_path / "data")
