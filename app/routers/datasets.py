"""Datasets: list, look, read rows, delete. How they are created stands in `upload`."""

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from app.datasets.export import csv_of, parquet_of
from app.datasets.plot import Plot, plotted
from app.drawing import MEDIA_TYPES
from app.routers.dependencies import Cursor, Limit, ServicesDep, known_query
from app.routers.download import streamed
from app.routers.json_body import LimitedRoute
from app.routers.negotiation import CSV, JSON, PARQUET, VARIES, preferred
from app.schemas.dataset import DatasetBody, PlotOptions, Rows
from app.schemas.page import Page, before, page
from app.schemas.problem import problems
from app.schemas.sharing import ShareRequest
from app.services import Services

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=LimitedRoute, dependencies=[Depends(known_query)])

DatasetPath = Annotated[str, Path(description="A dataset's id or name.", examples=["line"], max_length=200)]

Split = Annotated[Literal["all", "train", "test"], Query(description="Which split.", examples=["train"])]


def content(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Other media types that a call answers in, for the OpenAPI document."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"content": dict.fromkeys(media_types, binary)}}


@router.get("", summary="List datasets", responses=problems(422))
def list_datasets(services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> Page[DatasetBody]:
    """Datasets, newest first."""
    return page(services.catalogue.page(limit + 1, before(cursor)), limit, partial(_body, services))


@router.get("/{dataset}", summary="Look at a dataset", responses=problems(404, 422))
def get_dataset(dataset: DatasetPath, services: ServicesDep) -> DatasetBody:
    """One dataset: its columns with their statistics, its splits, the truth behind a synthetic one."""
    return _body(services, services.catalogue.get(dataset))


@router.get(
    "/{dataset}/rows", summary="Read rows", response_model=Rows, responses=problems(404, 406, 422) | content(CSV)
)
def get_rows(
    dataset: DatasetPath,
    request: Request,
    services: ServicesDep,
    split: Split = "all",
    offset: Annotated[int, Query(ge=0, description="How many rows to skip.", examples=[0])] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many rows at most.", examples=[10])] = 50,
) -> Response:
    """Rows as objects by column name, in the dataset's own units; or as CSV, by the Accept header."""
    found = services.catalogue.open(dataset)
    if preferred(request, (JSON, CSV)) == CSV:
        table = b"".join(csv_of(found, found.range(split, offset, limit)))
        return Response(table, media_type=CSV, headers=VARIES)
    return Response(Rows(items=found.read(split, offset, limit)).model_dump_json(), media_type=JSON, headers=VARIES)


@router.get(
    "/{dataset}/data",
    summary="Download all rows",
    response_class=StreamingResponse,
    responses=problems(404, 422) | content(CSV, PARQUET),
)
def get_data(
    dataset: DatasetPath,
    services: ServicesDep,
    form: Annotated[
        Literal["csv", "parquet"], Query(alias="format", description="In which format.", examples=["csv"])
    ] = "csv",
) -> Response:
    """The whole dataset as a file. Arrays are a column for each element in CSV, lists in Parquet."""
    row = services.catalogue.get(dataset)
    found = services.catalogue.files(row.id)
    headers = {"Content-Disposition": f'attachment; filename="{row.name or row.id}.{form}"'}
    if form == "csv":
        return streamed(csv_of(found, found.split("all")), CSV, headers)
    return streamed(parquet_of(found), PARQUET, headers)


@router.get(
    "/{dataset}/plot",
    summary="See a dataset",
    response_class=Response,
    responses=problems(404, 406, 422) | content(*MEDIA_TYPES),
)
def get_plot(
    dataset: DatasetPath, request: Request, services: ServicesDep, plot: Annotated[PlotOptions, Query()]
) -> Response:
    """A histogram of one column, a scatter plot of two with the class as colour, or a grid of images with labels."""
    media_type = preferred(request, MEDIA_TYPES)
    picture = plotted(services.catalogue.open(dataset), Plot(**plot.model_dump()), media_type)
    return Response(picture, media_type=media_type, headers=VARIES)


@router.patch("/{dataset}", summary="Share a dataset, or no longer", responses=problems(404, 422))
def share_dataset(dataset: DatasetPath, asked: ShareRequest, services: ServicesDep) -> DatasetBody:
    """Let every key see a dataset and learn from it, or its owner alone. Nothing else of it ever changes."""
    return _body(services, services.catalogue.share(dataset, asked.shared))


@router.delete("/{dataset}", status_code=204, summary="Delete a dataset", responses=problems(404, 409, 422))
def delete_dataset(dataset: DatasetPath, services: ServicesDep) -> Response:
    """Remove a dataset and its files. Models trained on it stay."""
    services.catalogue.delete(dataset)
    return Response(status_code=204)


def _body(services: Services, row: Any) -> DatasetBody:
    return DatasetBody.of(row, services.catalogue.matrices.bytes(row.id))
