"""Admission: whether a job may use what it names, asked in the transaction that puts it on the queue."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.viewer import visible
from app.errors import DatasetNotFound
from app.jobs.order import Order
from app.models import names, registry
from app.tables import DatasetRow


def admit(session: Session, order: Order) -> None:
    """Refuse a job on data or a model that the viewer does not see, or under a name that is another's.

    Who asked for a replay may have lost sight of what the first run was shown.
    """
    for dataset_id in filter(None, (order.dataset_id, order.validation_dataset_id)):
        seen = select(DatasetRow.id).where(DatasetRow.id == dataset_id, visible(DatasetRow))
        if session.scalar(seen) is None:
            raise DatasetNotFound(dataset_id)
    init = order.spec.get("init")
    if isinstance(init, dict) and init.get("type") == "model":
        registry.find(session, init["model"])
    name = order.spec.get("model_name")
    if name is not None and order.replay_of is None:
        names.claim(session, name)
