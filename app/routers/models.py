"""Models: list, look, delete, and read the coefficients."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from app.models.coefficients import coefficients
from app.routers.dependencies import Cursor, Limit, ServicesDep
from app.schemas.coefficients import Coefficients
from app.schemas.model import ModelBody
from app.schemas.page import Page, before, page
from app.schemas.problem import problems

router = APIRouter(prefix="/models", tags=["models"])

ModelPath = Annotated[
    str,
    Path(
        description="A model's id, its name (the newest version), or `name:version`.",
        examples=["line"],
        max_length=200,
    ),
]


@router.get("", summary="List models", responses=problems(422))
def list_models(
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    name: Annotated[str | None, Query(description="Only the versions of this name.", examples=["line"])] = None,
) -> Page[ModelBody]:
    """Models, newest first."""
    return page(services.registry.page(limit + 1, before(cursor), name), limit, ModelBody.of)


@router.get("/{model}", summary="Look at a model", responses=problems(404, 422))
def get_model(model: ModelPath, services: ServicesDep) -> ModelBody:
    """One model: what it takes, what it predicts, how good it is."""
    return ModelBody.of(services.registry.get(model))


@router.get("/{model}/coefficients", summary="Read a model's coefficients", responses=problems(404, 422))
def get_coefficients(model: ModelPath, services: ServicesDep) -> Coefficients:
    """Every weight and the bias, in the original units, against the truth where the dataset is synthetic."""
    loaded = services.predictor.load(model)
    return Coefficients.model_validate(coefficients(loaded, services.catalogue.truth(loaded.row.dataset_id)))


@router.delete("/{model}", status_code=204, summary="Delete a model", responses=problems(404, 422))
def delete_model(model: ModelPath, services: ServicesDep) -> Response:
    """Remove a model and its files."""
    services.registry.delete(model)
    return Response(status_code=204)
