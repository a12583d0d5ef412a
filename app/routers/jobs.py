"""Jobs: submit, look, cancel, run again, delete. How their history is read stands in `history` and `events`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from structlog.contextvars import bind_contextvars

from app.job_status import OVER, Status
from app.jobs.preflight import preflight
from app.jobs.replay import order_again
from app.jobs.spec import Spec
from app.jobs.submission import order
from app.routers.conditional import NOT_MODIFIED, IfNoneMatch, etag, matches, unchanged
from app.routers.dependencies import Cursor, JobId, Limit, ServicesDep, WaitSeconds, known_query
from app.routers.json_body import LimitedRoute
from app.schemas.job import JobBody, PreflightBody
from app.schemas.page import Page, before, page
from app.schemas.problem import problems
from app.services import Services

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=LimitedRoute, dependencies=[Depends(known_query)])


@router.post(
    "",
    status_code=202,
    summary="Train a model",
    response_model=JobBody,
    responses=problems(404, 413, 422, 429, 507)
    | {
        200: {
            "model": JobBody | PreflightBody,
            "description": "The job is over (with `Prefer: wait`), or what it would do and cost (with `dry_run`).",
        }
    },
)
async def submit_job(
    spec: Spec,
    request: Request,
    services: ServicesDep,
    wait: WaitSeconds,
    dry_run: Annotated[
        bool, Query(description="Say what the job would do and cost, and train nothing.", examples=[False])
    ] = False,
) -> Response:
    """Queue a training job. With `Prefer: wait=N` the reply is held until the job is over, at most N seconds."""
    if dry_run:
        body = await run_in_threadpool(_preflight, spec, services)
        return Response(body.model_dump_json(), media_type="application/json")
    submitted, ports = await run_in_threadpool(_submit, spec, services)
    services.bell.ring(ports)
    return await hold(submitted, services, wait)


@router.get("", summary="List jobs", responses=problems(404, 422))
def list_jobs(
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Annotated[Status | None, Query(description="Only jobs in this state.", examples=["succeeded"])] = None,
    dataset: Annotated[
        str | None, Query(description="Only jobs on this dataset, by id or name.", examples=[None])
    ] = None,
    model: Annotated[
        Literal["linear", "softmax"] | None, Query(description="Only jobs of models of this kind.", examples=["linear"])
    ] = None,
) -> Page[JobBody]:
    """Jobs, newest first."""
    dataset_id = services.catalogue.get(dataset).id if dataset is not None else None
    rows = services.queue.page(limit + 1, before(cursor), status=status, dataset_id=dataset_id, model=model)
    return page(rows, limit, JobBody.of)


@router.get(
    "/{job}",
    summary="Look at a job",
    response_model=JobBody,
    responses=problems(404, 422)
    | NOT_MODIFIED
    | {202: {"model": JobBody, "description": "Not over yet (with `Prefer: wait`)."}},
)
async def get_job(job: JobId, services: ServicesDep, wait: WaitSeconds, known: IfNoneMatch) -> Response:
    """One job: its state, its progress, its newest metrics. `Prefer: wait=N` holds the reply until it is over."""
    found = await run_in_threadpool(_look, job, services)
    found = await _until_over(found, services, wait)
    tag = etag(found.model_dump_json(exclude={"progress": {"eta_seconds"}}))
    if matches(known, tag):
        return unchanged(tag)
    return _reply(found, {"ETag": tag, **_applied(wait)}, waited=wait > 0, pending=202 if wait > 0 else 200)


@router.post(
    "/{job}/cancel",
    status_code=202,
    summary="Cancel a job",
    response_model=JobBody,
    responses=problems(404, 409, 422),
)
def cancel_job(job: JobId, services: ServicesDep) -> JobBody:
    """Stop a job. What it has learned until then becomes a model flagged `partial`."""
    cancelled, ports = services.queue.cancel(job)
    services.bell.ring(ports)
    return JobBody.of(cancelled)


@router.post(
    "/{job}/replay",
    status_code=202,
    summary="Run a job again",
    response_model=JobBody,
    responses=problems(404, 409, 422, 429)
    | {200: {"model": JobBody, "description": "The replay is over (with `Prefer: wait`)."}},
)
async def replay_job(job: JobId, services: ServicesDep, wait: WaitSeconds) -> Response:
    """Run the receipt of a job again, as a job of its own; its `replay` says whether every bit agrees."""
    submitted, ports = await run_in_threadpool(_submit_again, job, services)
    services.bell.ring(ports)
    return await hold(submitted, services, wait)


@router.delete("/{job}", status_code=204, summary="Delete a job", responses=problems(404, 409, 422))
def delete_job(job: JobId, services: ServicesDep) -> Response:
    """Remove a job and its history; its model stays."""
    services.queue.delete(job)
    services.results.delete(job)
    return Response(status_code=204)


async def hold(submitted: JobBody, services: Services, wait: float) -> Response:
    """The reply to a submission, held until the job is over or `wait` seconds have passed."""
    bind_contextvars(job=submitted.id)  # from here on the lines of this request name the job, as its worker's do
    job = await _until_over(submitted, services, wait)
    return _reply(job, {"Location": f"/jobs/{job.id}", **_applied(wait)}, waited=wait > 0)


def _submit(spec: Spec, services: Services) -> tuple[JobBody, list[int]]:
    services.storage.disk.check()
    job, ports = services.queue.submit(order(spec, services.catalogue, services.roster.devices(), services.registry))
    return JobBody.of(job), ports


def _submit_again(job_id: str, services: Services) -> tuple[JobBody, list[int]]:
    job, ports = services.queue.submit(order_again(services.queue.get(job_id), services.roster.devices()))
    return JobBody.of(job), ports


def _preflight(spec: Spec, services: Services) -> PreflightBody:
    devices = services.roster.devices()
    job = order(spec, services.catalogue, devices, services.registry)
    services.queue.try_out(job)
    found = preflight(job, services.catalogue, devices)
    return PreflightBody.model_validate(vars(found))


def _look(job_id: str, services: Services) -> JobBody:
    return JobBody.of(services.queue.get(job_id))


async def _until_over(job: JobBody, services: Services, seconds: float) -> JobBody:
    """Hold on until the job is over, the time is up, or the server stops."""
    if seconds <= 0 or job.status in OVER:
        return job
    remaining = services.watch.deadline(seconds)
    with services.watch.on(job.id) as moved:
        while True:
            job = await run_in_threadpool(_look, job.id, services)
            if job.status in OVER or remaining() <= 0 or services.watch.stopping:
                return job
            await services.watch.next(moved, remaining())


def _reply(job: JobBody, headers: dict[str, str], waited: bool, pending: int = 202) -> Response:
    status = 200 if waited and job.status in OVER else pending
    return Response(job.model_dump_json(), status_code=status, media_type="application/json", headers=headers)


def _applied(wait: float) -> dict[str, str]:
    return {"Preference-Applied": f"wait={wait:.0f}"} if wait > 0 else {}
