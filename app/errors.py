"""Every way in which a request can fail, as one tree.

    OnelayerError
    ├── NotFound                 404   DatasetNotFound · JobNotFound · ModelNotFound · PageNotFound
    │                                  AliasNotFound · ResultNotFound
    ├── Conflict                 409   NameTaken · ModelNameTaken · SeveralVersions · DatasetInUse · JobStillRunning
    │                                  JobOver · JobNotReplayable · IdempotencyConflict · RequestInProgress
    ├── Unprocessable            422
    │   ├── InvalidRequest             a field of the request: unknown, missing, out of range
    │   ├── InvalidData                a place in uploaded data: row and column
    │   ├── InvalidSpec                a job that cannot be trained as asked
    │   ├── InvalidInstances           rows given to /predict
    │   ├── InvalidModel               a file that is imported as a model
    │   └── Unsupported                what this model cannot say
    ├── BadRequest               400
    ├── Unauthorized             401   no key, or none that counts
    ├── Forbidden                403   ScopeMissing · NotOwner · NoOwner
    ├── MethodNotAllowed         405
    ├── NotAcceptable            406
    ├── RequestTimeout           408   the client sent too slowly
    ├── TooLarge                 413
    ├── UnsupportedMediaType     415
    ├── RangeNotSatisfiable      416
    ├── Busy                     429   QueueFull · TooManyRequests · TooManyAtOnce
    ├── HeadTooLarge             431
    ├── Unimplemented            501   what HTTP knows and this server does not do
    ├── VersionNotSupported      505   a version of HTTP that is not spoken here
    ├── StorageFull              507
    ├── Unready                  503   Overloaded · DatabaseBusy · TookTooLong
    ├── DamagedFiles             500   of a dataset or model that is there
    └── InternalError            500   a fault of ours; its text never leaves the log

Each leaf knows its status and its code; one handler in `app.problems` renders them all as problem documents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a request: where (a field, or a row and column of the data) and what."""

    location: str
    message: str


class OnelayerError(Exception):
    """What every error has: a status, a code, a title, and a detail that says what to do."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})


class BadRequest(OnelayerError):
    """The request cannot be read as HTTP or as the media type it claims."""

    status, code, title = 400, "bad-request", "The request cannot be read"


class Unauthorized(OnelayerError):
    """The request needs a key, and comes with none that counts."""

    status, code, title = 401, "unauthorized", "A key is needed"

    def __init__(self, detail: str, is_wrong: bool = False) -> None:
        challenge = 'Bearer realm="onelayer"' + (', error="invalid_token"' if is_wrong else "")
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class Forbidden(OnelayerError):
    """The key counts, but not for this."""

    status, code, title = 403, "forbidden", "The key does not allow it"


class ScopeMissing(Forbidden):
    """The key is of a lesser scope."""

    code, title = "scope-missing", "The scope of the key does not allow it"

    def __init__(self, needed: str, given: str) -> None:
        super().__init__(
            f"This call needs a key of the scope {str(needed)!r}, and this one has {str(given)!r}; use another key.",
            headers={"WWW-Authenticate": f'Bearer realm="onelayer", error="insufficient_scope", scope="{needed}"'},
        )


class NotOwner(Forbidden):
    """What is shared is changed by its owner or an admin alone."""

    code, title = "not-owner", "It belongs to another owner"

    def __init__(self, called: str) -> None:
        super().__init__(f"{called!r} can be seen, but not changed, with this key; only its owner or an admin can.")


class NoOwner(Forbidden):
    """What was made without a key is changed by an admin alone."""

    code, title = "no-owner", "It has no owner"

    def __init__(self, called: str) -> None:
        super().__init__(
            f"{called!r} was made without a key, and cannot be changed with this one; use a key of the scope 'admin', "
            "or let `onelayer keys adopt` give all that has no owner to one."
        )


class NotFound(OnelayerError):
    """What is asked for is not here."""

    status, code, title = 404, "not-found", "Not found"


class PageNotFound(NotFound):
    """No route has this path."""


class DatasetNotFound(NotFound):
    """No dataset has this id or name."""

    code, title = "dataset-not-found", "No such dataset"

    def __init__(self, dataset: str) -> None:
        super().__init__(f"No dataset has the id or name {dataset!r}; GET /datasets lists those there are.")


class JobNotFound(NotFound):
    """No job has this id."""

    code, title = "job-not-found", "No such job"

    def __init__(self, job: str) -> None:
        super().__init__(f"No job has the id {job!r}; GET /jobs lists those there are.")


class ModelNotFound(NotFound):
    """No model has this id, name, version or alias."""

    code, title = "model-not-found", "No such model"

    def __init__(self, model: str) -> None:
        super().__init__(f"No model is called {model!r}; GET /models lists those there are.")


class AliasNotFound(NotFound):
    """No version of this name has the alias."""

    code, title = "alias-not-found", "No such alias"

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"No version of {name!r} has the alias {alias!r}; GET /models?name={name} lists them.")


class ResultNotFound(NotFound):
    """A job has left no predictions."""

    code, title = "result-not-found", "No such result"


class MethodNotAllowed(OnelayerError):
    """The path exists, but not with this method."""

    status, code, title = 405, "method-not-allowed", "Method not allowed"


class NotAcceptable(OnelayerError):
    """No representation that the client accepts."""

    status, code, title = 406, "not-acceptable", "Not acceptable"


class Conflict(OnelayerError):
    """The request is sound, but the state of the resource forbids it."""

    status, code, title = 409, "conflict", "Conflict"


class NameTaken(Conflict):
    """A living dataset has this name already."""

    code, title = "name-taken", "The name is taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"A dataset named {name!r} exists; choose another name, or delete that dataset first.")


class ModelNameTaken(Conflict):
    """The models of this name belong to another owner."""

    code, title = "model-name-taken", "The name belongs to another owner"

    def __init__(self, name: str) -> None:
        super().__init__(f"The models named {name!r} belong to another owner; choose another name.")


class SeveralVersions(Conflict):
    """A name of several versions does not say which one to delete."""

    code, title = "several-versions", "The name has several versions"

    def __init__(self, name: str, versions: Sequence[int]) -> None:
        listed = ", ".join(f"{name}:{version}" for version in versions[:10]) + (", …" if len(versions) > 10 else "")
        super().__init__(f"{name!r} has {len(versions)} versions; say which one, or its id: {listed}.")


class DatasetInUse(Conflict):
    """A queued or running job needs the dataset."""

    code, title = "dataset-in-use", "The dataset is in use"

    def __init__(self, dataset: str) -> None:
        super().__init__(
            f"A queued or running job needs the dataset {dataset!r}; wait for the job, or cancel it, and try again."
        )


class JobStillRunning(Conflict):
    """A job has to be over before it can be deleted."""

    code, title = "job-running", "The job is not over"

    def __init__(self, job: str) -> None:
        super().__init__(f"The job {job!r} is not over; cancel it with POST /jobs/{job}/cancel, then delete it.")


class JobOver(Conflict):
    """A job that is over cannot be cancelled."""

    code, title = "job-over", "The job is over"

    def __init__(self, job: str, status: str) -> None:
        super().__init__(f"The job {job!r} is over ({status}); there is nothing left to cancel.")


class JobNotReplayable(Conflict):
    """What it takes to run the job again is not there."""

    code, title = "job-not-replayable", "The job cannot be replayed"


class IdempotencyConflict(Conflict):
    """The key was sent before, with another request."""

    code, title = "idempotency-conflict", "The key belongs to another request"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was sent before with another path, body or Accept header; "
            "use a new key for a new request."
        )


class RequestInProgress(Conflict):
    """The first request with this key has no reply yet."""

    code, title = "request-in-progress", "The first request is not answered yet"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            "The first request with this Idempotency-Key is still being worked on; send it again in a moment.",
            headers={"Retry-After": str(seconds)},
        )


class TooLarge(OnelayerError):
    """The body is larger than the limit."""

    status, code, title = 413, "too-large", "The body is too large"


class UnsupportedMediaType(OnelayerError):
    """The media type of the body is none that this path reads."""

    status, code, title = 415, "unsupported-media-type", "Unsupported media type"


class RangeNotSatisfiable(OnelayerError):
    """The file ends before the range that is asked for."""

    status, code, title = 416, "range-not-satisfiable", "The file has no such range"


class Unprocessable(OnelayerError):
    """Well-formed, but it cannot be done as asked; `faults` says where."""

    status, code, title = 422, "unprocessable", "It cannot be done as asked"

    def __init__(self, faults: Sequence[Fault] | Fault, detail: str | None = None) -> None:
        found = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__(detail or _summary(found), found)


class InvalidRequest(Unprocessable):
    """A field of the request is unknown, missing or out of range."""

    code, title = "invalid-request", "The request has faults"


class InvalidData(Unprocessable):
    """The uploaded data cannot become a dataset."""

    code, title = "invalid-data", "The data has faults"


class InvalidSpec(Unprocessable):
    """The job cannot be trained as it is specified."""

    code, title = "invalid-job", "The job cannot be trained as specified"


class InvalidInstances(Unprocessable):
    """The rows to predict do not fit the model."""

    code, title = "invalid-instances", "The rows do not fit the model"


class InvalidModel(Unprocessable):
    """The file is no exported model, or contradicts itself."""

    code, title = "invalid-model", "The file is no model"


class Unsupported(Unprocessable):
    """What is asked for does not exist of this model; the detail says why."""

    code, title = "unsupported", "The model cannot say that"


class Busy(OnelayerError):
    """More than the service takes on at present."""

    status, code, title = 429, "busy", "Too many requests"


class QueueFull(Busy):
    """As many jobs wait as the queue takes."""

    code, title = "queue-full", "The queue is full"

    def __init__(self, limit: int, seconds: int, whose: str = "") -> None:
        jobs = f"jobs {whose}".strip()
        super().__init__(
            f"{limit} {jobs} are queued, as many as the queue takes; try again in {seconds} seconds, or cancel some.",
            headers={"Retry-After": str(seconds)},
        )


class TooManyRequests(Busy):
    """More requests a second than one key may send."""

    code, title = "too-many-requests", "Too many requests"

    def __init__(self, rate: float, seconds: int) -> None:
        super().__init__(
            f"One key may send {rate:g} requests a second; try again in {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )


class TooManyAtOnce(Busy):
    """As many of one kind are under way as the service takes at the same time."""

    code, title = "too-many-at-once", "Too many at the same time"

    def __init__(self, limit: int, what: str, seconds: int) -> None:
        super().__init__(
            f"{limit} {what} are under way, as many as the server takes at once; try again in {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )


class RequestTimeout(OnelayerError):
    """The client sent too slowly."""

    status, code, title = 408, "request-timeout", "The request came too slowly"

    def __init__(self, part: str, seconds: float) -> None:
        super().__init__(
            f"The {part} of the request came too slowly for {seconds:g} seconds; send it again, faster.",
        )


class HeadTooLarge(OnelayerError):
    """The head of the request, its address and headers, is larger than the server takes."""

    status, code, title = 431, "head-too-large", "The head of the request is too large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The address and the headers of a request may have {limit} bytes together.")


class Unimplemented(OnelayerError):
    """HTTP knows it, and this server does not do it."""

    status, code, title = 501, "not-implemented", "Not implemented"


class VersionNotSupported(OnelayerError):
    """The request is of a version of HTTP that the server does not speak."""

    status, code, title = 505, "version-not-supported", "HTTP version not supported"

    def __init__(self, version: str) -> None:
        super().__init__(f"This server speaks HTTP/1.1 and HTTP/1.0, not HTTP/{version}.")


class Unready(OnelayerError):
    """The service cannot do its work yet."""

    status, code, title = 503, "unready", "Not ready"


class Overloaded(Unready):
    """As many connections are open as the server takes."""

    code, title = "overloaded", "Too many connections"

    def __init__(self, limit: int, seconds: int) -> None:
        super().__init__(
            f"{limit} connections are open, as many as the server takes; try again in {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )


class DatabaseBusy(Unready):
    """Others hold the database, or its server is started again."""

    code, title = "database-busy", "The database is busy"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"The database did not answer this request in time; try again in {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )


class TookTooLong(Unready):
    """The request was not answered in time."""

    code, title = "took-too-long", "The request took too long"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The request was not answered within {seconds:g} seconds; ask for less at a time.")


class StorageFull(OnelayerError):
    """The disk under the data directory is full."""

    status, code, title = 507, "storage-full", "No space left"


class DamagedFiles(OnelayerError):
    """A dataset or model is there, but not all of its files, or not as they were written."""

    status, code, title = 500, "damaged-files", "Files are missing or damaged"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Files of {key} in the data directory are missing or damaged; bring them back from a backup, or "
            f"DELETE /{key}."
        )


class InternalError(OnelayerError):
    """A fault of ours. The detail names an id that stands in the log, and nothing else."""

    status, code, title = 500, "internal-error", "Internal error"


def _summary(faults: Sequence[Fault]) -> str:
    if not faults:
        return "The request cannot be processed."
    first = f"{faults[0].location}: {faults[0].message}"
    return first if len(faults) == 1 else f"{first} (and {len(faults) - 1} more; see errors)"
