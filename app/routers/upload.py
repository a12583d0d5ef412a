"""POST /datasets: a JSON source, a raw table, or a multipart upload becomes a dataset."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.datasets import readers
from app.datasets.bounds import Bounds
from app.datasets.ingest import Choices
from app.datasets.kinds import Kind
from app.datasets.readers import records
from app.datasets.readers.content import Content
from app.datasets.readers.csv_dialect import CsvOptions
from app.datasets.readers.upload import Upload
from app.datasets.synthetic import LARGEST_TRUTH, SyntheticLinear, SyntheticSoftmax
from app.errors import Fault, InvalidRequest, TooLarge
from app.problems import faults_of
from app.routers.charset import encoding_said
from app.routers.dependencies import ServicesDep, known_query
from app.routers.guard import GuardedRoute
from app.routers.json_body import check, check_width, is_json, loads
from app.routers.lanes import Lanes
from app.routers.reception import Received, receive_body, receive_multipart
from app.routers.unpacking import unpacked
from app.schemas.dataset import (
    DatasetBody,
    DatasetPreview,
    DatasetRequest,
    RecordsSource,
    Source,
    SyntheticLinearSource,
    SyntheticSoftmaxSource,
)
from app.schemas.problem import problems
from app.schemas.upload import FILE_PARTS, IN_QUERY_ALONE, UploadOptions, request_body
from app.services import Services

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=GuardedRoute, dependencies=[Depends(known_query)])

LARGE_CELLS = 5_000_000

_RAW = tuple(media_type for form in readers.FORMATS for media_type in form.media_types)


@router.post(
    "",
    status_code=201,
    summary="Create a dataset",
    response_model=DatasetBody,
    responses=problems(400, 409, 413, 415, 422, 507)
    | {200: {"model": DatasetPreview, "description": "What it would be (`dry_run`)."}},
    openapi_extra={"requestBody": request_body(_RAW)},
)
async def create_dataset(
    request: Request,
    services: ServicesDep,
    options: Annotated[UploadOptions, Query()],
) -> Response:
    """Create a dataset from a source (JSON), a table (raw body or the part `file`), or images and labels (IDX)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if is_json(media_type):
        return await run_in_threadpool(_from_source, await _json_body(request, services), options, services)
    with services.uploads.one(), services.catalogue.incoming() as folder, services.storage.disk.lend() as room:
        if media_type == "multipart/form-data":
            received = await receive_multipart(request, folder, room)
        else:
            readers.format_of(media_type)  # refused before the body is read
            received = await receive_body(request, folder, room)
        encoding = request.headers.get("content-encoding")
        lanes: Lanes = request.app.state.lanes
        return await lanes.run(received.size, _from_upload, received, options, encoding, services)


async def _json_body(request: Request, services: Services) -> bytes:
    """The body of a source, which is held in memory and therefore has the limit of every other request."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > services.settings.body_limit_bytes:
            most = services.settings.body_limit_mib
            raise TooLarge(f"A JSON source may have {most} MiB, as other requests; upload a table instead.")
    encoding = request.headers.get("content-encoding")
    return await run_in_threadpool(unpacked, bytes(body), encoding, services.settings.body_limit_bytes)


def _from_source(body: bytes, options: UploadOptions, services: Services) -> Response:
    _refuse(options, [name for name in options.model_fields_set if name not in IN_QUERY_ALONE], "a JSON source")
    check(body, services.settings.body_limit_bytes, services.settings.json_depth_limit)
    asked = _parsed(body)
    kinds = _kinds(asked.columns)
    name = asked.name if asked.name is not None else options.name
    kept = options.model_copy(update={"name": name, "shared": asked.shared or options.shared})
    with _slot(asked.source, services):
        content = _content(asked.source, kinds, services.catalogue.bounds)
        return _create(content, Choices(asked.target, kinds), kept, services)


def _slot(source: Source, services: Services) -> AbstractContextManager[None]:
    """What is made in memory may be so large, and if it is large, only a few at the same time."""
    if isinstance(source, RecordsSource):
        return nullcontext()
    cells, most = source.rows * (source.width + 1), services.settings.synthetic_cells_limit
    if cells > most:
        raise InvalidRequest(Fault("source.rows", f"rows times columns may be {most} at most; use fewer rows"))
    if isinstance(source, SyntheticSoftmaxSource) and source.classes * source.features > LARGEST_TRUTH:
        raise InvalidRequest(Fault("source.features", f"classes times features may be {LARGEST_TRUTH} at most"))
    return services.uploads.one() if cells > LARGE_CELLS else nullcontext()


def _content(source: Source, kinds: dict[str, Kind], bounds: Bounds) -> Content:
    if isinstance(source, RecordsSource):
        return records.read(source.records, kinds, bounds)
    recipe = SyntheticLinear if isinstance(source, SyntheticLinearSource) else SyntheticSoftmax
    return recipe(**source.model_dump(exclude={"type"})).content()


def _from_upload(received: Received, query: UploadOptions, encoding: str | None, services: Services) -> Response:
    options, form = _merged(query, received), _reader(received)
    others = {name for other in (*readers.FORMATS, readers.IDX) for name in other.options} - set(form.options)
    _refuse(options, sorted(others), f"the format {form.name}")
    is_text = "encoding" in form.options
    said = encoding_said(received.media_types["file"], options.encoding) if is_text else None
    upload = Upload(
        files=received.files,
        unpacked_limit_bytes=services.settings.unpacked_limit_bytes,
        columns=_kinds(options.columns),
        class_names=tuple(options.class_names) if options.class_names is not None else None,
        encoding=encoding,
        csv=CsvOptions(options.delimiter, options.quote, said, options.header, options.decimal),
        bounds=services.catalogue.bounds,
    )
    content = form.read(upload)
    return _create(content, Choices(options.target, upload.columns), options, services)


def _refuse(options: UploadOptions, names: Sequence[str], where: str) -> None:
    """An option that has no meaning where it is given is a mistake, not something to pass over."""
    faults = [
        Fault(name, f"this option does not apply to {where}") for name in names if getattr(options, name) is not None
    ]
    if faults:
        raise InvalidRequest(faults)


def _reader(received: Received) -> readers.Format:
    strangers = [part for part in received.files if part not in FILE_PARTS]
    if strangers:
        raise InvalidRequest(Fault(strangers[0], f"no such file part; the parts are {', '.join(FILE_PARTS)}"))
    if "file" in received.files and len(received.files) > 1:
        raise InvalidRequest(Fault("file", "give either file, or images and labels"))
    if "file" in received.files:
        return readers.format_of(received.media_types.get("file"), received.file_names.get("file"))
    if received.files:
        return readers.IDX
    raise InvalidRequest(Fault("file", "no file came: give the part file, or images and labels"))


def _merged(query: UploadOptions, received: Received) -> UploadOptions:
    """Query parameters and form fields together; a form field wins."""
    given: dict[str, Any] = {name: value for name, value in query.model_dump().items() if value is not None}
    as_json = {name: json.dumps(given[name]) for name in ("columns", "class_names") if name in given}
    everything = given | as_json | received.fields
    try:
        return UploadOptions.model_validate(everything)
    except ValidationError as error:
        raise InvalidRequest(
            faults_of(error.errors(include_url=False), _unpacked_json(everything), UploadOptions)
        ) from error


def _unpacked_json(options: dict[str, Any]) -> dict[str, Any]:
    """Options with those that are JSON as what they mean, so that a fault can name the place inside."""
    found = dict(options)
    for name in ("columns", "class_names"):
        with suppress(ValueError, TypeError):
            found[name] = orjson.loads(options.get(name, ""))
    return found


def _create(content: Content, choices: Choices, options: UploadOptions, services: Services) -> Response:
    if options.dry_run:
        found = services.catalogue.try_out(content, choices, options.name)
        preview = DatasetPreview.model_validate(found, from_attributes=True)
        return Response(preview.model_dump_json(), media_type="application/json")
    row = services.catalogue.create(content, choices, options.name, options.shared)
    headers = {"Location": f"/datasets/{row.id}"}
    return Response(
        DatasetBody.of(row).model_dump_json(), status_code=201, media_type="application/json", headers=headers
    )


def _kinds(columns: dict[str, Any] | None) -> dict[str, Kind]:
    return {column: Kind(kind) for column, kind in (columns or {}).items()}


def _parsed(body: bytes) -> DatasetRequest:
    try:
        asked = loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(Fault("body", f"this is no JSON: {error}")) from error
    check_width(asked)
    if isinstance(asked, dict):
        check_width(asked.get("source"))
    try:
        return DatasetRequest.model_validate(asked)
    except ValidationError as error:
        raise InvalidRequest(faults_of(error.errors(include_url=False), asked, DatasetRequest)) from error
