"""Batch predictions: a dataset predicted as a job, and its result as a file."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.jobs.batch import order_batch
from app.models.batch import Batch
from app.models.prediction import check_level
from app.routers.dependencies import JobId, ModelPath, ServicesDep, WaitSeconds, known_query
from app.routers.download import RANGE, Download, parts, streamed
from app.routers.jobs import hold
from app.routers.json_body import LimitedRoute
from app.routers.negotiation import CSV, PARQUET, VARIES, preferred
from app.schemas.evaluation import BatchRequest
from app.schemas.job import JobBody
from app.schemas.problem import problems
from app.services import Services

router = APIRouter(route_class=LimitedRoute, dependencies=[Depends(known_query)])

_FILE: dict[int | str, dict[str, Any]] = {200: {"description": "The file.", "content": {CSV: {}, PARQUET: {}}}}


@router.post(
    "/models/{model}/predictions",
    tags=["models"],
    status_code=202,
    summary="Predict a whole dataset as a job",
    response_model=JobBody,
    responses=problems(404, 422, 507)
    | {200: {"model": JobBody, "description": "The job is over (with `Prefer: wait`)."}},
)
async def submit_batch(model: ModelPath, asked: BatchRequest, services: ServicesDep, wait: WaitSeconds) -> Response:
    """Queue a batch prediction, for tables of any size; GET /jobs/{job}/predictions downloads the result."""
    job, ports = await run_in_threadpool(_submit, model, asked, services)
    services.bell.ring(ports)
    return await hold(job, services, wait)


@router.get(
    "/jobs/{job}/predictions",
    tags=["jobs"],
    summary="Download a batch prediction",
    response_class=Response,
    responses=problems(404, 406, 422) | _FILE | parts(PARQUET),
    openapi_extra={"parameters": [RANGE]},
)
def get_predictions(
    job: JobId,
    request: Request,
    services: ServicesDep,
    format: Annotated[  # noqa: A002 - the name of the query parameter
        Literal["csv", "parquet"] | None,
        Query(description="The kind of file; by default CSV if `Accept` asks for it, else Parquet.", examples=["csv"]),
    ] = None,
) -> Response:
    """The predictions in the order of the dataset's rows, streamed; of Parquet also the part that `Range` asks for."""
    found = services.queue.get(job)
    as_csv = format == "csv" or (format is None and preferred(request, (PARQUET, CSV)) == CSV)
    headers = VARIES if format is None else {}
    name = f"predictions-{job}.{'csv' if as_csv else 'parquet'}"
    if not as_csv:
        return Download(services.results.open(found), media_type=PARQUET, filename=name, headers=headers)
    headers = {**headers, "Content-Disposition": f'attachment; filename="{name}"'}
    return streamed(services.results.csv(found), CSV, headers)


def _submit(model: str, asked: BatchRequest, services: Services) -> tuple[JobBody, list[int]]:
    check_level(asked.outputs, "interval_level" in asked.model_fields_set)
    services.storage.disk.check()
    batch = Batch(asked.split, list(asked.outputs), asked.top_k, asked.interval_level, asked.columns)
    order = order_batch(batch, model, asked.dataset, services.predictor, services.catalogue)
    job, ports = services.queue.submit(order)
    return JobBody.of(job), ports
