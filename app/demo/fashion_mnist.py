"""Fashion-MNIST's four files: found in a folder, else downloaded from their public home, else done without.

Xiao, Rasul and Vollgraf (2017): Fashion-MNIST, a novel image dataset for benchmarking machine learning.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from app.demo import download

HOME = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FOLDER = Path("data/fashion-mnist")
CHOSEN_BY = "ONELAYER_FASHION_MNIST"

CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


@dataclass(frozen=True)
class Published:
    """One of the files as it is published, and the part of the upload that it becomes."""

    part: str
    name: str
    bytes: int
    sha256: str


FILES = (
    Published(
        "images",
        "train-images-idx3-ubyte.gz",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    Published(
        "labels",
        "train-labels-idx1-ubyte.gz",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    Published(
        "test_images",
        "t10k-images-idx3-ubyte.gz",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    Published(
        "test_labels",
        "t10k-labels-idx1-ubyte.gz",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)


def find(console: Console) -> Path | None:
    """The folder that holds all four files, or nothing; the console tells what was tried."""
    if chosen := os.environ.get(CHOSEN_BY):
        lacking = missing(Path(chosen))
        if not lacking:
            return Path(chosen)
        console.print(f"{CHOSEN_BY}={escape(chosen)} lacks {', '.join(lacking)}.")
    return _downloaded(console) if missing(FOLDER) else FOLDER


def missing(folder: Path) -> list[str]:
    """The files that a folder lacks."""
    return [file.name for file in FILES if not (folder / file.name).is_file()]


def _downloaded(console: Console) -> Path | None:
    console.print(f"Downloading Fashion-MNIST (31 MB) from its public home into {FOLDER} ...")
    try:
        for file in FILES:
            if not (FOLDER / file.name).is_file():
                download.fetch(HOME + file.name, FOLDER / file.name, file.bytes, file.sha256)
    except download.Unavailable as reason:
        console.print(f"[yellow]Not available:[/] {escape(str(reason))}. {CHOSEN_BY} may name a folder with the files.")
        return None
    return FOLDER
