"""Early stopping, declared; `patience` carries it out."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EarlyStopping(BaseModel):
    """Stop when a metric has not improved for some epochs; the best epoch's weights are restored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    patience: int = Field(5, ge=1, le=1_000_000, description="Epochs to wait for something better.", examples=[5])
    min_delta: float = Field(0.0, ge=0, description="By how much it must be better to count.", examples=[0.001])
    metric: Literal["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"] | None = Field(
        None,
        description="What to watch. Default: `validation_loss` where there are validation rows, else `train_loss`.",
        examples=["validation_loss"],
    )

    def improves(self, value: float, best: float) -> bool:
        """Whether `value` is better than `best` by more than min_delta."""
        rising = str(self.metric).endswith("accuracy")
        return value > best + self.min_delta if rising else value < best - self.min_delta
