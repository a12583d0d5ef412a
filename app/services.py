"""The services of one API process: made once, on one database and one storage, and handed to every request."""

import os
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from app.access.keyring import Keyring
from app.database import PATIENCE_SECONDS, Database
from app.datasets.bounds import Bounds
from app.datasets.catalogue import Catalogue
from app.disk import Disk
from app.errors import OnelayerError
from app.idempotency import Keys
from app.jobs import checkpoints, retention
from app.jobs.bell import Bell
from app.jobs.feed import Feeds
from app.jobs.queue import Queue
from app.jobs.roster import Roster
from app.jobs.watch import Watch
from app.models import importing
from app.models.predictor import Predictor
from app.models.registry import Registry
from app.models.results import Results
from app.models.revision import Revision
from app.settings import MEBIBYTE, Settings
from app.slots import Slots
from app.storage import Storage
from app.tables import ModelRow
from app.tally import Tally
from app.upkeep import Chore

USES_SECONDS = 5.0
"""How often to look for uses of keys that are to be written down."""


@dataclass(frozen=True)
class Services:
    """Everything that a handler may need."""

    settings: Settings
    database: Database
    storage: Storage
    tally: Tally
    bell: Bell
    roster: Roster
    catalogue: Catalogue
    queue: Queue
    keyring: Keyring
    keys: Keys
    registry: Registry
    predictor: Predictor
    results: Results
    uploads: Slots
    watch: Watch
    feeds: Feeds

    def import_model(self, content: bytes, name: str | None, shared: bool | None) -> ModelRow:
        """Keep an exported model as a new one."""
        return importing.add(content, name, self.registry, self.storage, shared)

    def close(self) -> None:
        """Write down what is not yet, and give the port and the connections back."""
        with suppress(SQLAlchemyError, OnelayerError):
            self.keyring.note_uses(at_the_end=True)
        self.bell.close()
        self.database.dispose()

    def chores(self) -> list[Chore]:
        """What the service does by itself: it gives back what lost its worker, and removes what nobody needs."""
        kept, database = self.settings, self.database
        often, seldom = kept.lease_seconds / 2, kept.cleanup_seconds

        def old_checkpoints() -> int:
            return checkpoints.sweep(database, self.storage, kept.keep_checkpoints_days * retention.DAY_SECONDS)

        return [
            Chore("jobs without a worker", often, self.queue.abandon),
            Chore("uploads that were cut off", seldom, self.catalogue.sweep),
            Chore("models that were cut off", seldom, self.registry.sweep),
            Chore("predictions of no job", seldom, lambda: self.results.sweep(self.queue.keeps)),
            Chore("old checkpoints", seldom, old_checkpoints),
            Chore("old jobs", seldom, lambda: retention.retire_jobs(database, kept.keep_jobs_days)),
            Chore("old histories", seldom, lambda: retention.retire_histories(database, kept.keep_history_days)),
            Chore("uses of keys", USES_SECONDS, self.keyring.note_uses),
            Chore("old idempotency keys", seldom, self.keys.forget),
        ]

    def is_writable(self) -> bool:
        """Whether the data directory takes new files."""
        return self.storage.is_writable()


def assemble(settings: Settings) -> Services:
    """Every service, on one database and one storage."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # Where matplotlib, once it is imported, keeps its list of fonts.
    os.environ.setdefault("MPLCONFIGDIR", str(settings.resolved_cache_dir / "matplotlib"))
    database = Database(settings.resolved_database_url, PATIENCE_SECONDS)
    storage = Storage(settings.data_dir, Disk(settings.data_dir, *settings.disk_limits))
    roster = Roster(database, settings.lease_seconds)
    registry = Registry(database, storage)
    bell = Bell()
    bounds = Bounds(settings.rows_limit, settings.columns_limit, settings.cells_limit)
    limits = settings.queue_limit, settings.queue_limit_per_key
    queue = Queue(database, roster, settings.lease_seconds, settings.attempts, *limits)
    watch = Watch(bell, settings.poll_seconds)
    revision = Revision(database)
    return Services(
        settings=settings,
        database=database,
        storage=storage,
        tally=Tally(settings.data_dir),
        bell=bell,
        roster=roster,
        catalogue=Catalogue(database, storage, settings.matrix_cache_bytes, bounds=bounds),
        queue=queue,
        keyring=Keyring(database, revision.now),
        keys=Keys(database, roster.is_alive, settings.keep_idempotency_hours),
        registry=registry,
        predictor=Predictor(registry, revision, settings.model_cache_mib * MEBIBYTE),
        results=Results(storage),
        uploads=Slots(settings.uploads_limit, "uploads"),
        watch=watch,
        feeds=Feeds(database, queue, watch),
    )
