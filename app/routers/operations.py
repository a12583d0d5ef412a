"""Operations: is it alive, is it ready."""

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from app import migrate
from app.routers.dependencies import ServicesDep
from app.routers.guard import GuardedRoute
from app.schemas.operations import Health, Readiness
from app.services import Services

router = APIRouter(tags=["operations"], route_class=GuardedRoute)


@router.get("/healthz", summary="Is it alive?")
def healthz() -> Health:
    """200 as long as the process answers."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Is it ready?",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Something it needs is missing."}},
)
def readyz(services: ServicesDep) -> Response:
    """200 when the database answers, its schema is current, the storage can be written and a worker is alive."""
    readiness = _readiness(services)
    return JSONResponse(readiness.model_dump(), status_code=200 if readiness.ready else 503)


def _readiness(services: Services) -> Readiness:
    try:
        current, worker = migrate.is_current(services.database), services.roster.has_worker()
        database = True
    except SQLAlchemyError:
        database = current = worker = False
    storage = services.is_writable()
    ready = database and current and worker and storage and not services.watch.stopping
    return Readiness(ready=ready, database=database, migrations=current, storage=storage, worker=worker)
