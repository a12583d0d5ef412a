"""GET /metrics: what Prometheus asks for."""

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.responses import Response

from app.routers.guard import GuardedRoute

router = APIRouter(tags=["operations"], route_class=GuardedRoute)

_EXAMPLE = 'onelayer_jobs{status="running"} 1.0\n'


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus's text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
def get_metrics(request: Request) -> Response:
    """Requests, jobs, queue, caches, disk and memory. Requests are those of the process that answers."""
    registry: CollectorRegistry = request.app.state.registry
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
