"""The services of one API process: made once, on one database and one storage, and handed to every request."""

from dataclasses import dataclass

from app.database import Database
from app.datasets.catalogue import Catalogue
from app.jobs.bell import Bell
from app.jobs.queue import Queue
from app.jobs.roster import Roster
from app.jobs.watch import Watch
from app.models import importing
from app.models.predictor import Predictor
from app.models.registry import Registry
from app.models.results import Results
from app.models.revision import Revision
from app.settings import MEBIBYTE, Settings
from app.storage import Storage
from app.tables import ModelRow


@dataclass(frozen=True)
class Services:
    """Everything that a handler may need."""

    settings: Settings
    database: Database
    storage: Storage
    bell: Bell
    roster: Roster
    catalogue: Catalogue
    queue: Queue
    registry: Registry
    predictor: Predictor
    results: Results
    watch: Watch

    def import_model(self, content: bytes, name: str | None) -> ModelRow:
        """Keep an exported model as a new one."""
        return importing.add(content, name, self.registry, self.storage)

    def close(self) -> None:
        """Give the port and the connections back."""
        self.bell.close()
        self.database.dispose()

    def is_writable(self) -> bool:
        """Whether the data directory takes new files."""
        return self.storage.is_writable()


def assemble(settings: Settings) -> Services:
    """Every service, on one database and one storage."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    storage = Storage(settings.data_dir)
    roster = Roster(database, settings.lease_seconds)
    registry = Registry(database, storage)
    bell = Bell()
    return Services(
        settings=settings,
        database=database,
        storage=storage,
        bell=bell,
        roster=roster,
        catalogue=Catalogue(database, storage),
        queue=Queue(database, roster, settings.lease_seconds, settings.attempts),
        registry=registry,
        predictor=Predictor(registry, storage, Revision(database), settings.model_cache_mib * MEBIBYTE),
        results=Results(storage),
        watch=Watch(bell, settings.poll_seconds),
    )
