"""The coefficients of a model as clients see them."""

from pydantic import BaseModel, Field


class Inference(BaseModel):
    """A weight, and how sure it is; null where that cannot be said."""

    weight: float = Field(description="The weight, in the original units.", examples=[2.0001])
    standard_error: float | None = Field(None, description="Its standard error.", examples=[0.0003])
    statistic: float | None = Field(None, description="Weight / standard error, Student's t.", examples=[6667.0])
    p_value: float | None = Field(
        None, description="How probable a statistic this large is if the weight is zero.", examples=[0.0]
    )
    ci_low: float | None = Field(None, description="The 95 % confidence interval's lower end.", examples=[1.9995])
    ci_high: float | None = Field(None, description="The 95 % confidence interval's upper end.", examples=[2.0007])


class Coefficient(Inference):
    """The weight of one feature for one output."""

    feature: str = Field(description="The feature: a column, a level of a category, or a pixel.", examples=["x1"])
    output: str = Field(description="The target column, or the class of a softmax model.", examples=["y"])


class BiasCoefficient(Inference):
    """The bias of one output."""

    output: str = Field(description="The target column, or the class of a softmax model.", examples=["y"])


class VsTruth(BaseModel):
    """The parameters that generated a synthetic dataset, and how far the learned ones are from them."""

    weights: list[float] = Field(description="The true weights, in feature order.", examples=[[2.0, -3.4]])
    bias: float = Field(description="The true bias.", examples=[4.2])
    weight_errors: list[float] = Field(
        description="Absolute error of each learned weight.", examples=[[0.0001, 0.0002]]
    )
    bias_error: float = Field(description="Absolute error of the learned bias.", examples=[0.0002])


class Coefficients(BaseModel):
    """Every coefficient of a model."""

    coefficients: list[Coefficient] = Field(description="The weights, output by output, in feature order.")
    bias: list[BiasCoefficient] = Field(description="The bias of each output.")
    inference_refused: str | None = Field(
        None, description="Why there are no standard errors; null where there are.", examples=[None]
    )
    vs_truth: VsTruth | None = Field(description="For a linear model of a synthetic dataset, else null.")
