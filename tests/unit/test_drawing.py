"""Pictures of datasets, models and jobs, which share one matplotlib."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier, BrokenBarrierError
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

from app.datasets.pictures import Bars
from app.drawing import MEDIA_TYPES, SVG, drawn
from app.jobs import plot
from app.models import pictures
from app.tables import EpochRow

NAME = r"$\frac$"
"""As a formula it is faulty."""


def of_a_dataset(media_type: str) -> bytes:
    return drawn(Bars(NAME, {NAME: 3, "b": 2}, None, 0).draw, media_type)


def of_a_model(media_type: str) -> bytes:
    return pictures.confusion([[2, 1], [0, 3]], [NAME, "b"], 0.8, media_type)


def of_a_job(media_type: str) -> bytes:
    rows = [
        EpochRow(job_id="j", epoch=epoch, train_loss=1 / epoch, learning_rate=0.1, seconds=0.1, candidate=0)
        for epoch in range(1, 4)
    ]
    return plot.draw(rows, {"loss": NAME, "model": "linear"}, media_type)


OTHERS = {"text.parse_math": True, "svg.hashsalt": None, "axes.spines.top": True}
"""Settings that no picture has."""
KINDS = (of_a_dataset, of_a_model, of_a_job)
Draw = Callable[[str], bytes]


@pytest.mark.parametrize("draw", KINDS)
def test_a_name_is_drawn_as_it_is_whatever_was_set_before(draw: Draw):
    first = draw(SVG)

    with mpl.rc_context(OTHERS):
        assert draw(SVG) == first
    assert f"<!-- {NAME} -->" in first.decode() or f"({NAME})" in first.decode()


@pytest.mark.parametrize("draw", KINDS)
def test_a_picture_leaves_the_settings_as_they_were(draw: Draw):
    with mpl.rc_context(OTHERS):
        before = dict(mpl.rcParams)

        draw(SVG)

        assert dict(mpl.rcParams) == before


def test_many_threads_draw_what_one_draws_alone():
    pairs = list(product(KINDS, MEDIA_TYPES))
    alone = [draw(media_type) for draw, media_type in pairs]

    with ThreadPoolExecutor(len(pairs)) as pool:
        found = list(pool.map(lambda pair: pair[0](pair[1]), pairs * 3))

    assert found == alone * 3


def test_one_picture_is_drawn_at_a_time():
    both = Barrier(2)

    def meet(_: object) -> None:
        both.wait(timeout=0.5)

    with ThreadPoolExecutor(2) as pool:
        drawings = [pool.submit(drawn, meet, SVG) for _ in range(2)]

    assert all(isinstance(drawing.exception(), BrokenBarrierError) for drawing in drawings)


def test_a_drawing_that_fails_lets_the_next_one_begin():
    with pytest.raises(ZeroDivisionError):
        drawn(lambda _: 1 / 0, SVG)

    assert of_a_model(SVG)


@pytest.mark.parametrize("character", ["\x00", "\x1f", "\ufffe", "-->", "<&"])
def test_an_svg_is_well_formed_whatever_a_label_holds(character: str):
    label = f"a{character}é"

    svg = drawn(Bars(label, {label: 1}, None, 0).draw, SVG)

    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "é -->" in svg.decode()


def test_a_script_that_the_font_lacks_is_no_warning():
    for _ in range(2):
        with warnings.catch_warnings():
            assert drawn(Bars("日本語", {"か": 1}, None, 0).draw, SVG)
