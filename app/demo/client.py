"""A thin client: JSON in, JSON out, and a problem document becomes the failure's text."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from app.demo.failure import DemoFailed

Json = dict[str, Any]

OVER = {"succeeded", "failed", "diverged", "cancelled"}
POLL_SECONDS = 0.05
REQUEST_SECONDS = 120.0


class Client:
    """Speaks to one server."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        # trust_env=False: a proxy that is set for the internet does not know this machine's ports.
        self._http = httpx.Client(base_url=url, timeout=REQUEST_SECONDS, trust_env=False, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **parameters: str | int) -> Json:
        """What is at a path."""
        return self._sent("GET", path, params=parameters)

    def post(self, path: str, body: Json) -> Json:
        """Send a JSON body."""
        return self._sent("POST", path, json=body)

    def upload(self, path: str, fields: Mapping[str, str], files: Mapping[str, Any]) -> Json:
        """Send a form with files."""
        return self._sent("POST", path, data=fields, files=files)

    def epochs(self, job: Json) -> Iterator[Json]:
        """Each epoch of a job as soon as it is in the loss history, until the job is over."""
        seen, over = 0, False
        while not over:
            over = self.get(f"/jobs/{job['id']}")["status"] in OVER  # asked first, so that no late epoch is missed
            for epoch in self.get(f"/jobs/{job['id']}/history", after_epoch=seen)["items"]:
                seen = epoch["epoch"]
                yield epoch
            if not over:
                time.sleep(POLL_SECONDS)

    def model_of(self, job: Json) -> str:
        """The id of the model that a finished job left."""
        found = self.get(f"/jobs/{job['id']}")
        if found["status"] != "succeeded":
            detail = (found["error"] or {}).get("detail", "no reason is given")
            raise DemoFailed(f"the job ended as {found['status']}: {detail}")
        return str(found["model_id"])

    def _sent(self, method: str, path: str, **content: Any) -> Json:
        try:
            response = self._http.request(method, path, **content)
        except httpx.TransportError as error:
            raise DemoFailed(f"{method} {path}: {error}") from error
        if not response.is_success:
            raise DemoFailed(f"{method} {path} answered {response.status_code}: {_reason(response)}")
        reply: Json = response.json()
        return reply


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:500]
