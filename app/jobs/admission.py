"""Admission: whether a job may use what it names, asked in the transaction that puts it on the queue."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.viewer import visible
from app.errors import DatasetNotFound
from app.models import names, registry
from app.tables import DatasetRow


def admit(session: Session, spec: dict[str, Any], dataset_ids: list[str], is_replay: bool) -> None:
    """Refuse a job on data or a model that the viewer does not see, or under a name that is another's.

    Who asked for a replay may have lost sight of what the first run was shown.
    """
    for dataset_id in dataset_ids:
        seen = select(DatasetRow.id).where(DatasetRow.id == dataset_id, visible(DatasetRow))
        if session.scalar(seen) is None:
            raise DatasetNotFound(dataset_id)
    init = spec.get("init")
    if isinstance(init, dict) and init.get("type") == "model":
        registry.find(session, init["model"])
    name = spec.get("model_name")
    if name is not None and not is_replay:
        names.claim(session, name)
