"""Datasets: list, look, read rows, delete. How they are created stands in `upload`."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from app.routers.dependencies import Cursor, Limit, ServicesDep
from app.schemas.dataset import DatasetBody, Rows
from app.schemas.page import Page, before, page
from app.schemas.problem import problems

router = APIRouter(prefix="/datasets", tags=["datasets"])

DatasetPath = Annotated[str, Path(description="A dataset's id or name.", examples=["line"], max_length=200)]


@router.get("", summary="List datasets", responses=problems(422))
def list_datasets(services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> Page[DatasetBody]:
    """Datasets, newest first."""
    return page(services.catalogue.page(limit + 1, before(cursor)), limit, DatasetBody.of)


@router.get("/{dataset}", summary="Look at a dataset", responses=problems(404, 422))
def get_dataset(dataset: DatasetPath, services: ServicesDep) -> DatasetBody:
    """One dataset: its columns with their statistics, its splits, the truth behind a synthetic one."""
    return DatasetBody.of(services.catalogue.get(dataset))


@router.get("/{dataset}/rows", summary="Read rows", responses=problems(404, 422))
def get_rows(
    dataset: DatasetPath,
    services: ServicesDep,
    split: Annotated[str, Query(pattern="^(all|train|test)$", description="Which split.", examples=["train"])] = "all",
    offset: Annotated[int, Query(ge=0, description="How many rows to skip.", examples=[0])] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many rows at most.", examples=[10])] = 50,
) -> Rows:
    """Rows as objects by column name, in the dataset's own units."""
    return Rows(items=services.catalogue.open(dataset).read(split, offset, limit))


@router.delete("/{dataset}", status_code=204, summary="Delete a dataset", responses=problems(404, 409, 422))
def delete_dataset(dataset: DatasetPath, services: ServicesDep) -> Response:
    """Remove a dataset and its files. Models trained on it stay."""
    services.catalogue.delete(dataset)
    return Response(status_code=204)
