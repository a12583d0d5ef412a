import io
from xml.etree import ElementTree as ET

import matplotlib.image
import numpy as np
import pytest

from app.datasets.dataset import Dataset
from app.datasets.pictures import Bars, Bins, Grid, Points
from app.datasets.plot import _DRAW, Plot, _kind, plotted
from app.drawing import PNG, SVG
from app.errors import InvalidRequest
from tests.unit.datasets.conftest import Build, images


@pytest.fixture
def flowers(build: Build) -> Dataset:
    generator = np.random.default_rng(0)
    lengths = generator.normal(5, 1, 60)
    columns = {"length": lengths, "width": lengths / 2, "species": ["a$b$", "<b>", None] * 20, "id": range(60)}
    return build(columns | {"text": [f"t{i}" for i in range(60)]}, target="species")


def picture(dataset: Dataset, plot: Plot) -> Bars | Bins | Points | Grid:
    about = {column["name"]: column for column in dataset.description.columns}
    return _DRAW[plot.kind or _kind(dataset, plot)](dataset, plot, about)


def test_a_column_of_numbers_is_a_histogram_whose_bins_hold_every_row(flowers: Dataset):
    bins = picture(flowers, Plot(x="length"))

    assert isinstance(bins, Bins)
    assert sum(bins.counts) == 60


def test_a_category_is_a_bar_for_each_level(flowers: Dataset):
    assert picture(flowers, Plot()) == Bars("species", {"<b>": 20, "a$b$": 20}, None, 0)


def test_the_levels_that_do_not_fit_are_counted_together(flowers: Dataset):
    bars = picture(flowers, Plot(x="text"))

    assert isinstance(bars, Bars)
    assert (len(bars.counts), bars.others, bars.other_count) == (30, "30 more", 30)


def test_points_have_the_colour_of_their_class(flowers: Dataset):
    points = picture(flowers, Plot(x="length", y="width"))

    assert isinstance(points, Points)
    assert {label: int(rows.sum()) for label, rows in points.groups.items()} == {"<b>": 20, "a$b$": 20, "missing": 20}
    assert points.x[1] == pytest.approx(flowers.column("length").to_numpy())


def test_the_legend_names_every_class(build: Build):
    dataset = build({"x": [1.0, 2.0], "y": [1.0, 2.0], "class": ["_a", "_b"]}, target="class")

    svg = plotted(dataset, Plot(x="x", y="y"), SVG).decode()

    assert "<!-- _a -->" in svg
    assert "<!-- _b -->" in svg


def test_many_points_are_evenly_spaced_rows(flowers: Dataset):
    points = picture(flowers, Plot(x="id", y="id", limit=25))

    assert isinstance(points, Points)
    assert points.x[1].tolist() == list(range(0, 60, 3))


def test_images_come_with_their_labels(build: Build):
    dataset = build(images(7), "idx")

    grid = picture(dataset, Plot(limit=4))

    assert isinstance(grid, Grid)
    assert np.array_equal(grid.images, dataset.array("image")[:4])
    assert grid.labels == ("0", "1", "2", "0")


@pytest.mark.parametrize("plot", [Plot(), Plot(x="length"), Plot(x="length", y="width"), Plot(x="text")])
def test_a_picture_is_svg_or_png_and_the_same_every_time(flowers: Dataset, plot: Plot):
    svg, png = (plotted(flowers, plot, media_type) for media_type in (SVG, PNG))

    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert matplotlib.image.imread(io.BytesIO(png)).std() > 0
    assert (svg, png) == tuple(plotted(flowers, plot, media_type) for media_type in (SVG, PNG))


def test_an_image_is_drawn_as_it_is(build: Build):
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, :, :2] = 255
    dataset = build({"image": pixels.tolist(), "y": [1]})

    drawn = matplotlib.image.imread(io.BytesIO(plotted(dataset, Plot(), PNG)))[..., 0]

    height, width = drawn.shape
    assert drawn[height // 2, width // 4] == 1
    assert drawn[height // 2, width * 3 // 4] == 0


@pytest.mark.parametrize("shape", [(3, 5, 5), (5, 5, 3), (5, 5, 1), (1, 5, 5)])
def test_colour_images_are_drawn_with_channels_first_or_last(build: Build, shape: tuple[int, ...]):
    values = np.random.default_rng(0).uniform(-1, 1, (2, *shape))

    assert plotted(build({"image": values.tolist(), "y": [1, 2]}), Plot(), PNG)


REFUSED = {
    "x": Plot(x="nothing"),
    "y": Plot(x="length", y="text"),
    "color": Plot(x="length", y="width", color="text"),
    "limit": Plot(x="length", limit=3),
    "split": Plot(x="length", split="test"),
}


@pytest.mark.parametrize("field", REFUSED)
def test_what_cannot_be_drawn_is_refused_by_its_field(flowers: Dataset, field: str):
    with pytest.raises(InvalidRequest) as caught:
        plotted(flowers, REFUSED[field], SVG)

    assert caught.value.faults[0].location == field


@pytest.mark.parametrize(
    ("plot", "field"),
    [
        (Plot(kind="scatter", x="length"), "y"),
        (Plot(kind="histogram", x="length", y="width"), "y"),
        (Plot(kind="images"), "x"),
        (Plot(kind="images", x="length"), "x"),
    ],
)
def test_a_kind_that_does_not_fit_the_columns_is_refused(flowers: Dataset, plot: Plot, field: str):
    with pytest.raises(InvalidRequest) as caught:
        plotted(flowers, plot, SVG)

    assert caught.value.faults[0].location == field


def test_whole_numbers_beyond_a_float_are_drawn_where_they_are_about(build: Build):
    points = picture(build({"id": [2**60 + 1, 2**60 + 1000], "v": [1, 2]}), Plot(x="id", y="v"))

    assert isinstance(points, Points)
    assert points.x[1].tolist() == [2.0**60 + 0, float(2**60 + 1000)]


LONG = "University of California, "


def test_categories_that_begin_alike_are_told_apart(build: Build):
    schools = [f"{LONG}Berkeley"] * 3 + [f"{LONG}Davis"] * 2 + ["missing", None]
    found = build({"school": schools, "x": [float(i) for i in range(7)], "y": [1.0] * 7})
    bars = picture(found, Plot(x="school"))
    assert isinstance(bars, Bars)
    assert sorted(bars.counts.values()) == [1, 2, 3]
    points = picture(found, Plot(x="x", y="y", color="school"))
    assert isinstance(points, Points)
    assert sorted(int(rows.sum()) for rows in points.groups.values()) == [1, 1, 2, 3]
