"""/docs: the OpenAPI document to read and to try, from files of our own, so that it works offline."""

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from app.routers.guard import GuardedRoute

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

_ASSETS = files("fastapi_swagger") / "resources"
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Onelayer API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

# A file of its own: the content policy allows no script inside the page.
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
"""


@router.get("/")
def root() -> Response:
    """Who opens the service's address in a browser is led to the page."""
    # Relative, so that it holds behind a proxy that serves the API below a path.
    return Response(status_code=307, headers={"Location": "docs"})


@router.get("/docs")
def docs() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/start.js")
def start() -> Response:
    """What starts it."""
    return Response(_START, media_type="text/javascript")


def _serve(name: str, media_type: str) -> None:
    content = (_ASSETS / name).read_bytes()

    @router.get(f"/docs/{name}")
    def asset() -> Response:
        """One of Swagger UI's files."""
        return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=86400"})


for _name, _media_type in _MEDIA_TYPES.items():
    _serve(_name, _media_type)
