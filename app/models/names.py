"""Names of models: all models of one name have one owner, so that nobody can put a version before another's users."""

from sqlalchemy import exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.viewer import viewer
from app.errors import ModelNameTaken
from app.job_status import LIVING
from app.tables import JobRow, ModelNameRow, ModelRow, Row


def claim(session: Session, name: str) -> None:
    """Take a name for the viewer's models, in the transaction that makes the model or the job that is to leave one.

    A name is free if nobody has had it, or if its owner has neither a model of that name nor a job that will leave one.
    """
    whom = viewer()
    row = session.get(ModelNameRow, name, with_for_update=True)
    if row is None:
        if is_added(session, ModelNameRow(name=name, newest_version=0, owner=whom.owner)):
            return
        row = session.get_one(ModelNameRow, name, with_for_update=True)
    if whom.sees_all or row.owner == whom.owner:
        return
    if _is_in_use(session, name):
        raise ModelNameTaken(name)
    row.owner = whom.owner


def is_added(session: Session, row: Row) -> bool:
    """Insert a row, unless a transaction that ran at the same time has inserted one of its key."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True


def _is_in_use(session: Session, name: str) -> bool:
    has_model = exists().where(ModelRow.name == name)
    will_have = exists().where(
        JobRow.status.in_(LIVING), JobRow.replay_of.is_(None), JobRow.spec["model_name"].as_string() == name
    )
    return bool(session.scalar(select(has_model | will_have)))
