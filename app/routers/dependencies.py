"""What handlers ask for, as named types: a signature says what the call needs, the body holds no plumbing."""

from collections.abc import Collection, Iterable
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams

from app.errors import Fault, InvalidRequest
from app.services import Services

LONGEST_WAIT_SECONDS = 60


def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


def wait_of(preferences: Iterable[str]) -> float:
    """The seconds that the lines of Prefer (RFC 7240) ask to wait; where they ask twice, the first counts."""
    for preference in ",".join(preferences).split(","):
        name, _, value = (part.strip() for part in preference.partition(";")[0].partition("="))
        if name.lower() == "wait":
            return _seconds(value.removeprefix('"').removesuffix('"'))
    return 0.0


def _seconds(text: str) -> float:
    """What is no number is a preference that is not known, and such are passed over."""
    if not (text.isascii() and text.isdecimal()):
        return 0.0
    seconds = float(text)
    if seconds > LONGEST_WAIT_SECONDS:
        raise InvalidRequest(Fault("Prefer", f"wait at most {LONGEST_WAIT_SECONDS} seconds"))
    return seconds


def _wait_seconds(
    request: Request,
    prefer: Annotated[  # for the document: of several lines the framework hands over one
        str | None,
        Header(
            description="`wait=N` (RFC 7240, N ≤ 60) holds the reply until the job is over or N seconds have passed.",
            examples=["wait=10"],
        ),
    ] = None,
) -> float:
    return wait_of(request.headers.getlist("prefer"))


async def _job_id(
    request: Request,
    job: Annotated[
        str, Path(description="A job's id, or `latest` for the newest job.", examples=["latest"], max_length=200)
    ],
) -> str:
    return await run_in_threadpool(services(request).queue.newest) if job == "latest" else job


async def known_query(request: Request) -> None:
    """Refuse what the call does not know in its address, or gets twice: an option would be left out in silence."""
    if not request.scope["query_string"]:
        return
    known = _query_names(request.scope["route"].dependant)
    strangers = [name for name in request.query_params if name not in known]
    if strangers:
        listed = f"this call knows {', '.join(sorted(known))}" if known else "this call has none"
        raise InvalidRequest([Fault(name, f"no such query parameter; {listed}") for name in strangers[:10]])
    check_single(request.query_params, known)


def check_single(query: QueryParams, names: Collection[str]) -> None:
    """Refuse query parameters that are given several times where only one of them would count."""
    faults = [
        Fault(name, f"it is given {count} times; give it once")
        for name in query
        if name in names and (count := len(query.getlist(name))) > 1
    ]
    if faults:
        raise InvalidRequest(faults)


def _query_names(dependant: Dependant) -> set[str]:
    """The query parameters of a call and of all that it depends on."""
    own = {name for parameter in dependant.query_params for name in _names(parameter)}
    return own.union(*map(_query_names, dependant.dependencies))


def _names(parameter: Any) -> Iterable[str]:
    """The name of one parameter, or of each that a model groups."""
    kind = parameter.field_info.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return (field.alias or name for name, field in kind.model_fields.items())
    return (parameter.alias,)


ServicesDep = Annotated[Services, Depends(services)]
JobId = Annotated[str, Depends(_job_id)]
ModelPath = Annotated[
    str,
    Path(
        description="A model's id, its name (the newest version that is not partial), `name:version` or `name@alias`.",
        examples=["line"],
        max_length=210,
    ),
]
WaitSeconds = Annotated[float, Depends(_wait_seconds)]
Limit = Annotated[int, Query(ge=1, le=500, description="How many items to return at most.", examples=[50])]
Cursor = Annotated[
    str | None,
    Query(description="The `next_cursor` of the page before; none for the first page.", examples=[None]),
]
