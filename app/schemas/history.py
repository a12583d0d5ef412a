"""The loss history as clients see it: JSON, or CSV for spreadsheets."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from app.tables import EpochRow


class EpochBody(BaseModel):
    """What one epoch ended with."""

    epoch: int = Field(description="1 for the first.", examples=[1])
    candidate: int = Field(0, description="Of a sweep: the candidate's number; else 0.", examples=[0])
    train_loss: float | None = Field(description="Loss on the training rows.", examples=[0.0404])
    train_accuracy: float | None = Field(
        description="Softmax: share of training rows predicted right.", examples=[None]
    )
    validation_loss: float | None = Field(description="Loss on the validation rows, if there are any.", examples=[None])
    validation_accuracy: float | None = Field(
        description="Softmax: share of validation rows predicted right.", examples=[None]
    )
    learning_rate: float = Field(description="The learning rate of the epoch.", examples=[0.03])
    seconds: float = Field(description="How long the epoch took.", examples=[2.1e-05])

    @classmethod
    def of(cls, row: EpochRow) -> "EpochBody":
        """The body of a row, whose values need no check any more."""
        return cls.model_construct(**{name: getattr(row, name) for name in cls.model_fields})


class History(BaseModel):
    """Epochs in order."""

    items: list[EpochBody] = Field(description="The epochs.")
    next_after_epoch: int | None = Field(
        description="Give it as `after_epoch` to read on from here: the last epoch here, or what was given where "
        "none follows it; null where neither is.",
        examples=[3],
    )

    @classmethod
    def of(cls, rows: Sequence[EpochRow], after_epoch: int = 0) -> "History":
        """The body of rows that were asked for after an epoch. Where there are none, that is where to read on."""
        items = [EpochBody.of(row) for row in rows]
        return cls(items=items, next_after_epoch=items[-1].epoch if items else after_epoch or None)


def csv_of(rows: Sequence[EpochRow]) -> str:
    """The rows as CSV with a header; what is not measured is empty."""
    names = list(EpochBody.model_fields)
    lines = [",".join("" if getattr(row, name) is None else repr(getattr(row, name)) for name in names) for row in rows]
    return "\n".join([",".join(names), *lines]) + "\n"
