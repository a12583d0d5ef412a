"""What handlers ask for, as named types: a signature says what the call needs, the body holds no plumbing."""

import re
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request

from app.errors import Fault, InvalidRequest
from app.services import Services

LONGEST_WAIT_SECONDS = 60


def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


def _wait_seconds(
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=N` (RFC 7240, N ≤ 60) holds the reply until the job is over or N seconds have passed.",
            examples=["wait=10"],
        ),
    ] = None,
) -> float:
    wait = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d+)\"?\s*(?:$|[,;])", prefer or "")
    if wait is None:
        return 0.0
    if int(wait[1]) > LONGEST_WAIT_SECONDS:
        raise InvalidRequest(Fault("Prefer", f"wait at most {LONGEST_WAIT_SECONDS} seconds"))
    return float(wait[1])


ServicesDep = Annotated[Services, Depends(services)]
WaitSeconds = Annotated[float, Depends(_wait_seconds)]
Limit = Annotated[int, Query(ge=1, le=500, description="How many items to return at most.", examples=[50])]
Cursor = Annotated[
    str | None,
    Query(description="The `next_cursor` of the page before; none for the first page.", examples=[None]),
]
JobPath = Annotated[
    str, Path(description="A job's id.", examples=["01936f5e-8c1b-7c3e-9d55-2f6f1f0e4a10"], max_length=200)
]
