"""Training data: the rows that a spec says to learn from, and the encoding that is fitted on them."""

from dataclasses import dataclass
from typing import Self

from app.datasets.dataset import Dataset
from app.datasets.encoding import Encoding
from app.datasets.splitting import Part, split
from app.datasets.target_encoding import TargetEncoding
from app.jobs.spec import Spec


@dataclass(frozen=True)
class TrainingData:
    """Rows that all have a target; the encoding knows the training rows alone."""

    training: Part
    validation: Part | None
    encoding: Encoding

    @classmethod
    def of(cls, spec: Spec, dataset: Dataset, other: Dataset | None) -> Self:
        """Split a dataset (`other` has the validation rows, where the spec names one) and fit the encoding."""
        target = TargetEncoding.fit(dataset, spec.target, spec.model)
        # What has no target is left out first: a fraction is one of the rows that can train.
        labelled = target.labelled(Part(dataset, dataset.split("train")), "training")
        parts = split(dataset, spec.validation, spec.seed, other, labelled.rows)
        training = parts.train
        # Where these solvers end does not depend on where they start, so that moving the origin changes nothing else.
        is_free = spec.solver != "sgd"
        centred = target.centred(training, always=is_free or bool(spec.standardize))
        options = spec.max_categories, spec.missing_indicator, is_free
        encoding = Encoding.fit(training, spec.features, centred, bool(spec.standardize), *options)
        validation = None if parts.validation is None else target.labelled(parts.validation, "validation")
        return cls(training, validation, encoding)
