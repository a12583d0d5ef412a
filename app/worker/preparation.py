"""Preparation: from a dataset on disk to the arrays that training takes, and the encoding that made them."""

from dataclasses import dataclass, replace
from functools import partial

from app.datasets.catalogue import Catalogue
from app.datasets.encoding import Encoding
from app.datasets.matrix_cache import MatrixCache
from app.datasets.splitting import Part
from app.errors import DatasetNotFound
from app.jobs.spec import Spec
from app.jobs.training_data import TrainingData
from app.models.registry import Registry
from app.tables import JobRow
from app.training.initialisation import ModelInit
from app.training.problem import Problem, Rows
from app.worker.continuation import start_from


@dataclass(frozen=True)
class Prepared:
    """What a job trains on."""

    problem: Problem
    encoding: Encoding
    dataset_sha256: str

    def sampled(self, entries: int) -> "Prepared":
        """The same on evenly spaced rows, of about so many numbers, where there are more."""
        validation = self.problem.validation and _sampled(self.problem.validation, entries)
        return replace(
            self, problem=replace(self.problem, train=_sampled(self.problem.train, entries), validation=validation)
        )


def prepare(spec: Spec, job: JobRow, catalogue: Catalogue, registry: Registry) -> Prepared:
    """Read the data that the spec names, encoded."""
    if job.dataset_id is None:
        raise DatasetNotFound(spec.dataset)
    dataset = catalogue.files(job.dataset_id)
    other = catalogue.files(job.validation_dataset_id) if job.validation_dataset_id is not None else None
    data = TrainingData.of(spec, dataset, other)
    encoding, target = data.encoding, data.encoding.target
    rows = partial(_rows, catalogue.matrices, encoding)
    validation = None if data.validation is None else rows(data.validation)
    start = start_from(spec.init.model, encoding, registry) if isinstance(spec.init, ModelInit) else None
    problem = Problem(rows(data.training), validation, target.outputs, target.classes, start)
    return Prepared(problem, encoding, dataset.description.sha256)


def _sampled(rows: Rows, entries: int) -> Rows:
    stride = -(-rows.X.size // entries)
    if stride == 1:
        return rows
    drawn = rows.draw(stride)
    return Rows(rows.taken(drawn), rows.y[drawn], rows.scale)


def _rows(matrices: MatrixCache, encoding: Encoding, part: Part) -> Rows:
    design = matrices.design(encoding, part)
    return Rows(design.X, encoding.targets(part), design.scale, matrices.memory_bytes)
