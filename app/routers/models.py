"""Models: list, look, alias, import, export, evaluate, draw, delete, and read the coefficients."""

from collections import Counter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Path, Query, Request, UploadFile
from starlette.responses import Response

from app.drawing import MEDIA_TYPES
from app.errors import Fault, InvalidRequest, UnsupportedMediaType
from app.identifiers import NAME_PATTERN, is_name
from app.models import pictures
from app.models.coefficients import coefficients
from app.models.evaluation import evaluate, scatter
from app.models.exports import FORMATS, file_name
from app.routers.dependencies import Cursor, Limit, ModelPath, ServicesDep, known_query
from app.routers.json_body import LimitedRoute
from app.routers.negotiation import JSON, VARIES, preferred
from app.schemas.coefficients import Coefficients
from app.schemas.evaluation import AliasRequest, EvaluateRequest, Evaluation
from app.schemas.model import ModelBody
from app.schemas.page import Page, before, page
from app.schemas.problem import problems
from app.schemas.sharing import ShareRequest

router = APIRouter(prefix="/models", tags=["models"], route_class=LimitedRoute, dependencies=[Depends(known_query)])

NamePath = Annotated[str, Path(description="A name of models.", examples=["line"], max_length=100)]
AliasPath = Annotated[
    str, Path(description="A word for one version.", examples=["champion"], pattern=NAME_PATTERN, max_length=100)
]
_PICTURES: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES}}
}
_IMPORT_PARTS = ("file", "name", "shared")
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {kind: {} for kind in sorted({form.media_type for form in FORMATS.values()})},
    }
}


async def _known_parts(request: Request) -> None:
    """Refuse a part that nobody would read, such as a misspelt `name`, and a text where the file belongs."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnsupportedMediaType("A model comes as a file of a form, such as curl -F file=@model.json.")
    parts = (await request.form()).multi_items()
    counts = Counter(name for name, _ in parts)
    listed = ", ".join(_IMPORT_PARTS)
    faults = [Fault(name, f"no such part; the parts are {listed}") for name in counts if name not in _IMPORT_PARTS]
    faults += [Fault(name, "this part is given twice") for name, count in counts.items() if count > 1]
    if any(name == "file" and isinstance(value, str) for name, value in parts):
        faults.append(Fault("file", "this is a text; send a file that was exported, such as curl -F file=@model.json"))
    if faults:
        raise InvalidRequest(faults[:10])


@router.get("", summary="List models", responses=problems(422))
def list_models(
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    name: Annotated[str | None, Query(description="Only the versions of this name.", examples=["line"])] = None,
) -> Page[ModelBody]:
    """Models, newest first."""
    rows = services.registry.page(limit + 1, before(cursor), name)
    aliases = services.registry.aliases(rows)
    return page(rows, limit, lambda row: ModelBody.of(row, aliases[row.id]))


@router.post(
    "",
    status_code=201,
    summary="Import a model",
    responses=problems(400, 413, 422, 507),
    dependencies=[Depends(_known_parts)],
)
def import_model(
    services: ServicesDep,
    response: Response,
    file: Annotated[UploadFile, File(description="An exported model, safetensors or json.", examples=["line-1.json"])],
    name: Annotated[str | None, Form(description="Its name; it becomes the next version.", examples=["houses"])] = None,
    shared: Annotated[
        bool | None,
        Form(
            description="Whether others see and use it too. By default as the model that its name means, else no.",
            examples=[None],
        ),
    ] = None,
) -> ModelBody:
    """Add a model from a file that was exported here or elsewhere. It is checked, never trusted, and runs no code."""
    if name is not None and not is_name(name):
        raise InvalidRequest(Fault("name", f"{name!r} is no name: use letters, digits, '.', '_' and '-'"))
    row = services.import_model(file.file.read(), name, shared)
    response.headers["Location"] = f"/models/{row.id}"
    return ModelBody.of(row, [])


@router.get("/{model}", summary="Look at a model", responses=problems(404, 422))
def get_model(model: ModelPath, services: ServicesDep) -> ModelBody:
    """One model: what it takes, what it predicts, how good it is."""
    row = services.registry.get(model)
    return ModelBody.of(row, services.registry.aliases([row])[row.id])


@router.get("/{model}/coefficients", summary="Read a model's coefficients", responses=problems(404, 422))
def get_coefficients(model: ModelPath, services: ServicesDep) -> Coefficients:
    """Every weight and the bias in the original units, how sure they are, and the truth behind a synthetic dataset."""
    loaded = services.predictor.load(model)
    return Coefficients.model_validate(coefficients(loaded, services.catalogue.truth(loaded.row.dataset_id)))


@router.get(
    "/{model}/export",
    summary="Export a model",
    response_class=Response,
    responses=problems(404, 422) | _FILE,
)
def export_model(
    model: ModelPath,
    services: ServicesDep,
    format: Annotated[  # noqa: A002 - the name of the query parameter
        Literal["safetensors", "onnx", "json", "npz", "sql", "pmml"],
        Query(description="The kind of file. safetensors and json can be imported again.", examples=["onnx"]),
    ] = "safetensors",
) -> Response:
    """The model as a file for other software, its encoding included."""
    loaded = services.predictor.load(model)
    form = FORMATS[format]
    headers = {"Content-Disposition": f'attachment; filename="{file_name(loaded, form.suffix)}"'}
    return Response(form.write(loaded), media_type=form.media_type, headers=headers)


@router.get(
    "/{model}/plot",
    summary="Draw a model's weights",
    response_class=Response,
    responses=problems(404, 406, 422) | _PICTURES,
)
def plot_model(model: ModelPath, request: Request, services: ServicesDep) -> Response:
    """An image model's class weights as a grid of images; the coefficients of a table with their intervals."""
    media_type = preferred(request, MEDIA_TYPES)
    picture = pictures.weights(services.predictor.load(model), media_type)
    return Response(picture, media_type=media_type, headers=VARIES)


@router.post(
    "/{model}/evaluate",
    summary="Evaluate a model on a dataset",
    response_model=Evaluation,
    response_model_exclude_none=True,
    responses=problems(404, 406, 422) | _PICTURES,
)
def evaluate_model(
    model: ModelPath, asked: EvaluateRequest, request: Request, response: Response, services: ServicesDep
) -> Any:
    """Metrics on rows whose target is known, and the rows that are most wrong.

    With `Accept: image/svg+xml` or `image/png`, the confusion matrix, or predictions against true values, as a picture.
    """
    media_type = preferred(request, (JSON, *MEDIA_TYPES))
    response.headers.update(VARIES)
    loaded = services.predictor.load(model)
    dataset = services.catalogue.open(asked.dataset)
    split = asked.split or ("test" if dataset.description.splits["test"] else "all")
    if media_type != JSON and loaded.row.kind == "linear":
        y, y_hat, rows = scatter(loaded, dataset, split)
        picture = pictures.predicted_against_true(y, y_hat, rows, loaded.row.target, media_type)
        return Response(picture, media_type=media_type, headers=VARIES)
    found = evaluate(loaded, dataset, split)
    if media_type != JSON:
        picture = pictures.confusion(found["confusion_matrix"], found["classes"], found["accuracy"], media_type)
        return Response(picture, media_type=media_type, headers=VARIES)
    return Evaluation.model_validate(found | {"split": split})


@router.put("/{name}/aliases/{alias}", summary="Give a version an alias", responses=problems(404, 422))
def set_alias(name: NamePath, alias: AliasPath, asked: AliasRequest, services: ServicesDep) -> ModelBody:
    """Let `name@alias` mean this version from now on, in every process at once."""
    row = services.registry.set_alias(name, alias, asked.version)
    return ModelBody.of(row, services.registry.aliases([row])[row.id])


@router.delete("/{name}/aliases/{alias}", status_code=204, summary="Remove an alias", responses=problems(404, 422))
def remove_alias(name: NamePath, alias: AliasPath, services: ServicesDep) -> Response:
    """Take an alias away; the model stays."""
    services.registry.remove_alias(name, alias)
    return Response(status_code=204)


@router.patch("/{model}", summary="Share a model, or no longer", responses=problems(404, 422))
def share_model(model: ModelPath, asked: ShareRequest, services: ServicesDep) -> ModelBody:
    """Let every key see this version and use it, or its owner alone. New versions do as what the name means."""
    row = services.registry.share(model, asked.shared)
    return ModelBody.of(row, services.registry.aliases([row])[row.id])


@router.delete("/{model}", status_code=204, summary="Delete a model", responses=problems(404, 409, 422))
def delete_model(model: ModelPath, services: ServicesDep) -> Response:
    """Remove a model, its aliases and its files. Its version number is not given again.

    A name is enough only while it has one version; else it takes `name:version`, `name@alias` or the id.
    """
    services.registry.delete(model)
    return Response(status_code=204)
