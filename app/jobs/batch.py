"""A batch prediction as a job: a model and a dataset are held against each other before it is queued."""

from app.datasets.catalogue import Catalogue
from app.jobs.order import Order
from app.models.batch import Batch, check_batch
from app.models.predictor import Predictor


def order_batch(batch: Batch, model: str, dataset: str, predictor: Predictor, catalogue: Catalogue) -> Order:
    """The job that predicts a dataset with a model; what the two are called now is meant, whatever comes later."""
    loaded = predictor.load(model)
    dataset_id = catalogue.get(dataset).id
    found = catalogue.files(dataset_id)
    check_batch(loaded, found, batch)
    rows = found.split(batch.split)
    return Order(
        spec=batch.spec(loaded, dataset_id),
        model=loaded.row.kind,
        dataset_id=dataset_id,
        validation_dataset_id=None,
        epochs=rows.stop - rows.start,
        requested_device="auto",
        kind="predict",
    )
