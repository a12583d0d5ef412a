"""The collector: what is read from the database, the disk and the operating system whenever Prometheus asks."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.job_status import Status
from app.metrics.census import Census, census
from app.services import Services
from app.tally import Count

log = structlog.get_logger(__name__)

Family = GaugeMetricFamily | CounterMetricFamily

_SUMS = {
    Count.EPOCHS: "Epochs that were trained; in a sweep each candidate has its own.",
    Count.SAMPLES: "Rows that were trained on, once for each epoch.",
    Count.WORKER_RESTARTS: "Workers that ended by themselves and were replaced.",
    Count.MATRIX_HITS: "Encoded matrices that a job found on disk.",
    Count.MATRIX_MISSES: "Encoded matrices that a job had to make.",
}


class ServiceCollector(Collector):
    """Everything but the requests."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Family]:
        """Every family with its values as they are now."""
        yield from self._of_database()
        yield from self._of_caches()
        yield from self._of_disk()
        for count, number in self._services.tally.sums().items():
            yield _counter(f"onelayer_{count}", _SUMS[count], number)

    def describe(self) -> list[Family]:
        """Nothing beforehand: reading is done when someone asks, not when the server starts."""
        return []

    def _of_database(self) -> Iterator[Family]:
        try:
            found = census(self._services.database)
            workers = self._services.roster.pids("worker")
        except SQLAlchemyError:
            log.exception("the metrics leave out what the database says")
            yield _gauge("onelayer_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("onelayer_database_up", "Whether the database answers.", 1)
        yield _gauge("onelayer_workers", "Workers of this machine that are alive.", len(workers))
        memory = sum(_resident_bytes(pid) for pid in workers)
        yield _gauge("onelayer_worker_memory_bytes", "Resident memory of these workers together.", memory)
        yield from _of(found)

    def _of_caches(self) -> Iterator[Family]:
        predictor, feeds = self._services.predictor, self._services.feeds
        yield _counter("onelayer_model_cache_hits", "Models that a request found in memory.", predictor.hits)
        yield _counter("onelayer_model_cache_misses", "Models that a request had to read.", predictor.misses)
        yield _gauge("onelayer_model_cache_bytes", "Models in memory.", predictor.bytes)
        yield _gauge("onelayer_event_streams", "Clients that watch a job.", feeds.watchers)

    def _of_disk(self) -> Iterator[Family]:
        usage = shutil.disk_usage(self._services.storage.root)
        yield _gauge("onelayer_disk_used_bytes", "Used on the file system of the data directory.", usage.used)
        yield _gauge("onelayer_disk_free_bytes", "Free on the file system of the data directory.", usage.free)
        data = self._services.storage.disk.used()
        yield _gauge("onelayer_data_bytes", "The data directory's files, at most half a minute ago.", data)
        database = self._services.database.file
        if database is not None:
            help_text = "SQLite's files: the database and its write-ahead log."
            family = GaugeMetricFamily("onelayer_database_bytes", help_text, labels=("file",))
            family.add_metric(("database",), _file_bytes(database))
            family.add_metric(("wal",), _file_bytes(database.with_name(f"{database.name}-wal")))
            yield family


def registry_of(services: Services) -> CollectorRegistry:
    """A registry with everything that is read when asked for: of this process and of the service."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(ServiceCollector(services))
    return registry


def _of(found: Census) -> Iterator[Family]:
    jobs = GaugeMetricFamily("onelayer_jobs", "Jobs, by their state.", labels=("status",))
    for status, number in found.jobs.items():
        jobs.add_metric((status,), number)
    yield jobs
    yield _gauge("onelayer_queue_depth", "Jobs that wait for a worker.", found.jobs[Status.QUEUED])
    yield _gauge("onelayer_queue_age_seconds", "How long the oldest of them has waited.", found.queue_age_seconds)
    speed = "Rows that the running jobs train on each second, by their own account."
    yield _gauge("onelayer_samples_per_second", speed, found.samples_per_second)
    yield _gauge("onelayer_datasets", "Datasets.", found.datasets)
    yield _gauge("onelayer_models", "Models, each version counted.", found.models)


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)


def _counter(name: str, help_text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, help_text, value=value)


def _file_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _resident_bytes(pid: int) -> int:
    """What a process has in memory; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
