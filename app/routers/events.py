"""The events of a job: server-sent, one for each epoch and each change of state."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.access.keyring import Keyring
from app.access.viewer import viewer
from app.errors import Fault, InvalidRequest, TooManyAtOnce
from app.job_status import OVER
from app.routers.dependencies import JobId, ServicesDep, known_query
from app.routers.guard import GuardedRoute
from app.schemas.history import EpochBody
from app.schemas.job import JobBody
from app.schemas.problem import problems
from app.slots import RETRY_SECONDS

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=GuardedRoute, dependencies=[Depends(known_query)])

_OVER = ".over"
_EVENT_ID = re.compile(r"(?:([0-9a-z-]{1,100}):)?(\d{1,15})(\.over)?")
"""Which job, how far, and whether that was its end. Whoever writes an id by hand may leave the job out."""

_STREAM = {
    "text/event-stream": {
        "itemSchema": {
            "type": "object",
            "description": "`epoch` carries an item of the history, and its id names the job and the epoch; `status` "
            "carries the job, whenever its state changes; `gone`, the last one, says that the job was deleted.",
            "properties": {
                "event": {"type": "string", "enum": ["epoch", "status", "gone"]},
                "id": {"type": "string"},
                "data": {"type": "string", "contentMediaType": "application/json"},
            },
        },
        "example": 'event: status\ndata: {"status": "running"}\n\nevent: epoch\ndata: {"epoch": 1}\nid: 0193…:1\n\n',
    }
}


class Wire:
    """Epochs and states as server-sent events."""

    def epochs(self, rows: Sequence[Any]) -> bytes:
        """One event each; the id names the job and the epoch. Of a sweep only an epoch's last candidate has it.

        Whoever is cut off within an epoch then gets all of its candidates once more, and misses none.
        """
        following = [*(row.epoch for row in rows[1:]), None]
        return b"".join(
            _event(
                "epoch", EpochBody.of(row).model_dump_json(), _id(row.job_id, row.epoch) if row.epoch != after else None
            )
            for row, after in zip(rows, following, strict=True)
        )

    def status(self, job: Any) -> bytes:
        """The job; the id of the last one says that nothing follows."""
        over = _id(job.id, job.epoch) + _OVER if job.status in OVER else None
        return _event("status", JobBody.of(job).model_dump_json(), over)

    def gone(self, job_id: str) -> bytes:
        """The job is no longer there."""
        return _event("gone", json.dumps({"id": job_id}), None)

    def quiet(self) -> bytes:
        """A comment, so that nobody in between takes the connection for dead."""
        return KEEPALIVE_COMMENT


WIRE = Wire()


@router.get(
    "/{job}/events",
    summary="Watch a job",
    response_class=Response,
    responses=problems(404, 422, 429)
    | {
        200: {"description": "Events until the job is over.", "content": _STREAM},
        204: {"description": "The job is over, and `Last-Event-ID` names its last event: there is nothing more."},
    },
)
async def watch_job(
    job: JobId,
    services: ServicesDep,
    last_event_id: Annotated[
        str | None,
        Header(
            description="The id of the last event that was received: the stream goes on after it, or begins anew if it "
            "was another job's.",
            examples=["2"],
        ),
    ] = None,
) -> Response:
    """Every epoch of a job once and in order, and each change of its state, as they happen."""
    await run_in_threadpool(services.queue.get, job)
    if services.feeds.watchers >= services.settings.event_streams_limit:
        raise TooManyAtOnce(services.settings.event_streams_limit, "event streams", RETRY_SECONDS)
    after_epoch, is_over = _position(job, last_event_id)
    if is_over:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    stream = _while_the_key_counts(services.feeds.watch(job, after_epoch, WIRE), services.keyring)
    return EventSourceResponse(stream, headers=headers)


async def _while_the_key_counts(stream: AsyncIterator[bytes], keyring: Keyring) -> AsyncIterator[bytes]:
    """A key that is revoked while its holder watches is told nothing more."""
    whom = viewer()
    async with aclosing(stream) as events:  # type: ignore[type-var]  # what `Feeds.watch` gives is a generator
        async for data in events:
            fresh = keyring.is_fresh()
            if not (keyring.still_counts(whom) if fresh else await run_in_threadpool(keyring.still_counts, whom)):
                return
            yield data


def _position(job_id: str, last_event_id: str | None) -> tuple[int, bool]:
    """How far a client is with this job. What is called `latest` may have been another one before."""
    if not last_event_id:
        return 0, False
    found = _EVENT_ID.fullmatch(last_event_id)
    if found is None:
        raise InvalidRequest(Fault("Last-Event-ID", "this is no id of an event of a job"))
    if found[1] not in (None, job_id):
        return 0, False
    return int(found[2]), found[3] is not None


def _id(job_id: str, epoch: int) -> str:
    return f"{job_id}:{epoch}"


def _event(kind: str, data: str, event_id: str | None) -> bytes:
    return format_sse_event(data_str=data, event=kind, id=event_id)
