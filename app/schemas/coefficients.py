"""The coefficients of a model as clients see them."""

from pydantic import BaseModel, Field


class BiasCoefficient(BaseModel):
    """The bias of one output, and how sure it is: null where it is not determined, or no statistics are defined."""

    output: str = Field(description="The target column, or the class of a softmax model.", examples=["y"])
    weight: float = Field(description="The coefficient, in the original units.", examples=[2.0001])
    standard_error: float | None = Field(None, description="Standard error.", examples=[0.0003])
    statistic: float | None = Field(None, description="The coefficient over its standard error.", examples=[6421.3])
    p_value: float | None = Field(
        None,
        description="Probability of a statistic at least that far from 0 if the coefficient were 0.",
        examples=[0.0],
    )
    ci_low: float | None = Field(None, description="Lower end of the 95 % confidence interval.", examples=[1.9995])
    ci_high: float | None = Field(None, description="Upper end of the 95 % confidence interval.", examples=[2.0007])


class _OfFeature(BaseModel):
    feature: str = Field(description="The feature: a column, a level of a category, or a pixel.", examples=["x1"])


class Coefficient(BiasCoefficient, _OfFeature):
    """The weight of one feature for one output, which comes first, and how sure it is."""


class VsTruth(BaseModel):
    """The parameters behind a synthetic dataset, and how far the learned ones are from them."""

    weights: list[float] = Field(
        description="The true weights, in the order of the model's features.", examples=[[2.0, -3.4]]
    )
    bias: float = Field(
        description="The true bias, which takes in the mean of what features that the model lacks add.", examples=[4.2]
    )
    weight_errors: list[float] = Field(
        description="Absolute error of each learned weight.", examples=[[0.0001, 0.0002]]
    )
    bias_error: float = Field(description="Absolute error of the learned bias.", examples=[0.0002])


class ClassesVsTruth(BaseModel):
    """The same of a softmax model: each class less a reference, since differences alone change probabilities."""

    reference: str = Field(
        description="The class that is subtracted: that of the statistics, else the first.", examples=["0"]
    )
    per_class: dict[str, VsTruth] = Field(
        description="Every other class: true weights and bias less those of the reference, and the errors of these.",
        examples=[
            {"1": {"weights": [1.9, 0.4], "bias": -0.3, "weight_errors": [0.05, 0.02], "bias_error": 0.01}},
        ],
    )


class InferenceBody(BaseModel):
    """Whether there are statistics, and on what they rest."""

    available: bool = Field(description="Whether the coefficients have statistics.", examples=[True])
    reason: str | None = Field(description="Why they have none.", examples=[None])
    distribution: str | None = Field(description="`t` (linear) or `normal` (softmax).", examples=["t"])
    degrees_of_freedom: int | None = Field(description="Degrees of freedom of Student's t.", examples=[997])
    reference: str | None = Field(
        description="Softmax: the class whose weights are 0; the others' coefficients compare with it.", examples=[None]
    )


class Coefficients(BaseModel):
    """Every coefficient of a model."""

    coefficients: list[Coefficient] = Field(description="The weights, output by output, in feature order.")
    bias: list[BiasCoefficient] = Field(description="The bias of each output.")
    inference: InferenceBody = Field(description="Whether there are statistics, and on what they rest.")
    vs_truth: VsTruth | ClassesVsTruth | None = Field(
        description="For a model that predicts the target of a synthetic dataset from all or some of its features, "
        "else null; of classes without noise, which no weights describe, null too."
    )
