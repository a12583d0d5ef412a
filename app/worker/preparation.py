"""Preparation: from a dataset on disk to the arrays that training takes, and the encoding that made them."""

from dataclasses import dataclass, replace
from functools import partial

from app.datasets.catalogue import Catalogue
from app.datasets.encoding import Encoding
from app.datasets.matrix_cache import MatrixCache
from app.datasets.splitting import Part, split
from app.datasets.target_encoding import TargetEncoding
from app.errors import DatasetNotFound
from app.jobs.spec import Spec
from app.storage import Storage
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


def prepare(spec: Spec, job: JobRow, catalogue: Catalogue, storage: Storage) -> Prepared:
    """Split, fit the encoding on the training rows alone, encode."""
    if job.dataset_id is None:
        raise DatasetNotFound(spec.dataset)
    dataset = catalogue.files(job.dataset_id)
    other = catalogue.files(job.validation_dataset_id) if job.validation_dataset_id is not None else None
    target = TargetEncoding.fit(dataset, spec.target, spec.model)
    parts = split(dataset, spec.validation, spec.seed, other)
    training, _ = target.labelled(parts.train)
    # Where these solvers end does not depend on where they start, so that moving the origin changes nothing else.
    is_free = spec.solver != "sgd"
    target = target.centred(training, always=is_free or bool(spec.standardize))
    options = spec.max_categories, spec.missing_indicator, is_free
    encoding = Encoding.fit(training, spec.features, target, bool(spec.standardize), *options)
    rows = partial(_rows, catalogue.matrices, encoding)
    validation = None if parts.validation is None else rows(target.labelled(parts.validation)[0])
    start = start_from(spec.init.model, encoding, storage) if isinstance(spec.init, ModelInit) else None
    problem = Problem(rows(training), validation, target.outputs, target.classes, start)
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
