"""A failure: what the error of a job says, by what went wrong in its worker."""

from typing import Any

import structlog

from app.errors import DamagedFiles, InvalidSpec, OnelayerError, StorageFull
from app.jobs.error_codes import ErrorCode
from app.storage import FULL
from app.training.errors import DeviceFailed, DeviceFull, DeviceUnavailable, UnsuitableOption

log = structlog.get_logger(__name__)


def told(error: Exception, job_id: str) -> dict[str, Any]:
    """Code and detail of a failed job: what to do; a fault of our own is only named, since the log holds the rest."""
    match error:
        case OnelayerError():
            if isinstance(error, DamagedFiles):
                log.error("files are missing or damaged", job=job_id, exc_info=error)
            return _said(error.code, error.detail)
        case UnsuitableOption():
            return _said(InvalidSpec.code, str(error))
        case DeviceUnavailable():
            lost = "The worker has lost the device that is asked for; use device cpu or auto."
            return _said(ErrorCode.DEVICE_UNAVAILABLE, lost)
        case DeviceFull():
            full_device = "The GPU's memory does not hold the training; use a smaller batch_size, or device cpu."
            return _said(ErrorCode.OUT_OF_MEMORY, full_device)
        case DeviceFailed():
            log.error("a GPU has failed", job=job_id, exc_info=error)
            return _said(
                ErrorCode.DEVICE_FAILED,
                "The GPU failed; its worker starts anew. Run the job again, or with device cpu.",
            )
        case MemoryError():
            return _said(
                ErrorCode.OUT_OF_MEMORY, "The data does not fit into the worker's memory; use fewer rows or columns."
            )
        case OSError() if error.errno in FULL:
            full = StorageFull("The disk under the data directory is full: the job needs room on it.")
            return _said(full.code, full.detail)
    log.error("a job failed", job=job_id, exc_info=error)
    return _said(ErrorCode.INTERNAL_ERROR, f"A fault of the worker; its log holds more under {job_id}.")


def _said(code: str, detail: str) -> dict[str, Any]:
    return {"code": code, "detail": detail}
