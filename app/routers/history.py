"""The loss history of a job: as JSON, as CSV, as a picture."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.drawing import MEDIA_TYPES
from app.errors import Fault, InvalidRequest, NotFound
from app.jobs import history, plot
from app.routers.conditional import NOT_MODIFIED, IfNoneMatch, etag, matches, unchanged
from app.routers.dependencies import JobId, ServicesDep, known_query
from app.routers.guard import GuardedRoute
from app.routers.negotiation import CSV, JSON, VARIES, preferred
from app.schemas.history import History, csv_of
from app.schemas.problem import problems

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=GuardedRoute, dependencies=[Depends(known_query)])

PLOTTED_EPOCHS = 2000
MOST_EPOCHS = 1000
"""A reply has so many, unless the client asks for a number."""


@router.get(
    "/{job}/history",
    summary="Read a job's loss history",
    response_model=History,
    responses=problems(404, 406, 422) | NOT_MODIFIED | {200: {"content": {CSV: {"schema": {"type": "string"}}}}},
)
def get_history(
    job: JobId,
    request: Request,
    services: ServicesDep,
    known: IfNoneMatch,
    after_epoch: Annotated[
        int, Query(ge=0, le=history.LARGEST_EPOCH, description="Only epochs after this one.", examples=[0])
    ] = 0,
    limit: Annotated[
        int | None,
        Query(ge=1, le=100_000, description=f"How many epochs at most; {MOST_EPOCHS} by default.", examples=[1000]),
    ] = None,
    points: Annotated[
        int | None,
        Query(
            ge=2,
            le=5000,
            description="Instead of `limit`: down-sample to so many epochs, keeping the extremes of every loss and "
            "accuracy (in a sweep of each candidate's); where there is no room for all, of the training loss first.",
            examples=[None],
        ),
    ] = None,
) -> Response:
    """The epochs so far, in order; it grows while the job runs."""
    if points is not None and limit is not None:
        raise InvalidRequest(Fault("limit", "points says already how many epochs come; give one of the two"))
    media_type = preferred(request, (JSON, CSV))
    tag = etag(history.version(services.database, job), str(request.query_params), media_type)
    if matches(known, tag):
        return unchanged(tag, **VARIES)
    if points is not None:
        rows = history.sample(services.database, job, after_epoch, points)
    else:
        rows = history.read(services.database, job, after_epoch, limit or MOST_EPOCHS)
    headers = {"ETag": tag, **VARIES}
    content = csv_of(rows) if media_type == CSV else History.of(rows, after_epoch).model_dump_json()
    return Response(content, media_type=media_type, headers=headers)


@router.get(
    "/{job}/plot",
    summary="See a job's loss history",
    response_class=Response,
    responses=problems(404, 406, 422)
    | NOT_MODIFIED
    | {200: {"description": "The curves.", "content": {kind: {} for kind in MEDIA_TYPES}}},
)
def get_plot(job: JobId, request: Request, services: ServicesDep, known: IfNoneMatch) -> Response:
    """The curves of loss and accuracy against the epoch, as SVG or, where `Accept` prefers it, as PNG."""
    media_type = preferred(request, MEDIA_TYPES)
    row = services.queue.get(job)
    if row.kind != "train":
        raise NotFound(f"The job {row.id!r} is a batch prediction, which has no loss history to draw.")
    tag = etag(history.version(services.database, job), row.status, media_type)
    if matches(known, tag):
        return unchanged(tag, **VARIES)
    rows = history.sample(services.database, job, 0, PLOTTED_EPOCHS)
    picture = plot.draw(rows, row.spec, media_type)
    return Response(picture, media_type=media_type, headers={"ETag": tag, **VARIES})
