"""The headers of replies as the OpenAPI document shows them: what each says, and which replies have it.

Which have it follows from what a call takes and answers, so that no route has to repeat it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_FILES = ("/datasets/{dataset}/data", "/models/{model}/export", "/jobs/{job}/predictions")


@dataclass(frozen=True)
class Reply:
    """One reply of one call. The header parameters that the call takes are in lower case."""

    path: str
    method: str
    status: int
    takes: frozenset[str]

    @property
    def succeeds(self) -> bool:
        """Whether it is what the client hopes for."""
        return 200 <= self.status < 300

    def makes(self) -> bool:
        """Whether it tells of something new; what is held by `Prefer: wait` may be over when it does."""
        made = {201} if "prefer" not in self.takes else {200, 202}
        return self.method == "post" and self.status in made


@dataclass(frozen=True)
class ReplyHeader:
    """A header, and whether a reply has it."""

    description: str
    example: str
    is_of: Callable[[Reply], bool]
    is_always_there: bool = False

    def described(self) -> dict[str, Any]:
        """As the document has it."""
        return {
            "description": self.description,
            "required": self.is_always_there,
            "schema": {"type": "string", "examples": [self.example]},
        }


HEADERS: Mapping[str, ReplyHeader] = {
    "X-Request-ID": ReplyHeader(
        "The request's id, as it stands in the log: the client's own, if it sent a sane one.",
        "01936f5e-8c1b-7c3e-9d55-2f6f1f0e4a10",
        lambda reply: True,
        is_always_there=True,
    ),
    "Location": ReplyHeader(
        "Where what was made is.", "/jobs/01936f5e-8c1b-7c3e-9d55-2f6f1f0e4a10", lambda reply: reply.makes()
    ),
    "ETag": ReplyHeader(
        "A tag of what was sent, for `If-None-Match`; of a file, for `If-Range`.",
        'W/"2b1d9c0f7a5e"',
        lambda reply: (
            ("if-none-match" in reply.takes and reply.status in (200, 202, 304))
            or ("range" in reply.takes and reply.status in (200, 206))
        ),
    ),
    "Preference-Applied": ReplyHeader(
        "With `Prefer: wait`: how long the reply was held at most.",
        "wait=10",
        lambda reply: "prefer" in reply.takes and reply.succeeds,
    ),
    "Idempotency-Replayed": ReplyHeader(
        "`true` if this is the reply to an earlier request with the same `Idempotency-Key`.",
        "true",
        lambda reply: reply.method == "post" and reply.succeeds,
    ),
    "Retry-After": ReplyHeader(
        "In how many seconds to try again, where that helps.",
        "5",
        lambda reply: reply.status in (429, 503) or (reply.status == 409 and reply.method == "post"),
    ),
    "WWW-Authenticate": ReplyHeader(
        "What key is needed.", 'Bearer realm="onelayer"', lambda reply: reply.status in (401, 403)
    ),
    "Content-Disposition": ReplyHeader(
        "What to call the file.",
        'attachment; filename="line.csv"',
        lambda reply: reply.path in _FILES and reply.succeeds,
    ),
    "Accept-Ranges": ReplyHeader(
        "Of a file whose parts `Range` can ask for: `bytes`.",
        "bytes",
        lambda reply: "range" in reply.takes and reply.succeeds,
    ),
    "Content-Range": ReplyHeader(
        "Which part of the file this is, or how long the file is.",
        "bytes 0-1023/4096",
        lambda reply: reply.status in (206, 416),
    ),
    "Inference-Header-Content-Length": ReplyHeader(
        "How many bytes of JSON there are before the tensors' own.",
        "182",
        lambda reply: "inference-header-content-length" in reply.takes and reply.succeeds,
    ),
}


def describe_headers(document: dict[str, Any]) -> None:
    """Give each reply of the document the headers that it has."""
    document["components"]["headers"] = {name: header.described() for name, header in HEADERS.items()}
    for reply, described in _replies(document):
        described["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"} for name, header in HEADERS.items() if header.is_of(reply)
        }


def _replies(document: dict[str, Any]) -> Iterator[tuple[Reply, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            parameters = operation.get("parameters", ())
            takes = frozenset(about["name"].lower() for about in parameters if about["in"] == "header")
            for status, described in operation["responses"].items():
                yield Reply(path, method, int(status), takes), described
