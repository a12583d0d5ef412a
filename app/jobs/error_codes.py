"""The codes that a job's error may have, beside those of the problems that its data or spec may be refused with."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why a job did not come to its end, in a word that clients may depend on."""

    DIVERGED = "diverged"
    TIME_LIMIT = "time-limit"
    WORKER_LOST = "worker-lost"
    OUT_OF_MEMORY = "out-of-memory"
    DEVICE_UNAVAILABLE = "device-unavailable"
    DEVICE_FAILED = "device-failed"
    INTERNAL_ERROR = "internal-error"
