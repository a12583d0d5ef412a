"""The application: the only module that knows every layer, and where they are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import __version__, logs, problems
from app.access.entrance import needs_key
from app.edge.authentication import Authentication
from app.edge.cross_origin import CrossOrigin, cross_origin
from app.edge.gate import Gate
from app.edge.head import HeadAsGet
from app.edge.idempotency import IdempotencyKeys
from app.edge.principal import principal
from app.edge.rate import RateLimit
from app.edge.traces import last_spans, tracing
from app.jobs.presence import Presence
from app.metrics.collector import registry_of
from app.metrics.requests import RequestMetrics
from app.migrate import migrate
from app.routers import (
    datasets,
    docs,
    events,
    guard,
    history,
    inference_v2,
    jobs,
    metrics,
    models,
    operations,
    predict,
    predictions,
    upload,
)
from app.routers.lanes import Lanes
from app.schemas.document import describe
from app.services import Services, assemble
from app.settings import Settings
from app.upkeep import Upkeep
from app.worker.launcher import Launcher


def create_app(settings: Settings | None = None, workers: Launcher | None = None) -> Gate:
    """The ASGI application of one API process, with its workers, which may be starting already."""
    settings = settings or Settings()
    logs.configure(settings.log_level, settings.log_format)
    api = FastAPI(
        title="Onelayer",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to the address that the server believes to have, which a proxy may know better
        max_body_size=settings.body_limit_bytes,
        separate_input_output_schemas=False,
        telemetry=tracing(),
    )
    api.state.services = assemble(settings)
    api.state.workers = workers or Launcher(settings)
    api.state.lanes = Lanes()
    api.state.registry = registry_of(api.state.services)
    problems.install(api)
    api.add_middleware(HeadAsGet)
    if settings.requests_per_second:
        api.add_middleware(RateLimit, rate=settings.requests_per_second, identify=principal)
    api.add_middleware(IdempotencyKeys, keys=api.state.services.keys)
    api.add_middleware(Authentication, keyring=api.state.services.keyring, settings=settings)
    if settings.allowed_origins:
        api.add_middleware(CrossOrigin, **cross_origin(settings.allowed_origins))
    api.include_router(upload.router, max_body_size=settings.upload_limit_bytes)
    for module in (
        datasets,
        jobs,
        history,
        events,
        models,
        predictions,
        predict,
        inference_v2,
        operations,
        metrics,
        docs,
    ):
        api.include_router(module.router)
    guard.check(api.routes)
    describe(api, guard.NEEDED, is_key_optional=not needs_key(settings))
    return Gate(problems.ProblemDocuments(api), RequestMetrics(api.state.registry), settings.log_requests)


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    services: Services = api.state.services
    workers: Launcher = api.state.workers
    workers.start()
    migrate(services.database)
    services.catalogue.sweep()
    services.registry.sweep()
    services.watch.start()
    settings = services.settings
    with Presence(services.database, services.roster, services.bell, settings.lease_seconds) as presence:
        services.keys.process_id = presence.process_id
        with Upkeep(services.chores()):
            yield
            services.database.hurry()
        services.watch.close()
    with last_spans():
        workers.stop()
    services.close()
