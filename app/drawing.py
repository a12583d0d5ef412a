"""Drawing with matplotlib: whatever draws a picture fills an empty figure, which becomes SVG or PNG here.

Matplotlib is imported when the first picture is asked for, since that takes long. Its settings, caches and fonts belong
to the whole process. So one picture is drawn at a time, by settings that hold for this one alone: no picture depends on
which were drawn before it. Figures are made by hand; there is no pyplot and no current figure.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

SVG, PNG = "image/svg+xml", "image/png"
MEDIA_TYPES = (SVG, PNG)
"""What a picture may be, the preferred one first."""

_SETTINGS: Mapping["RcKeyType", Any] = {
    "figure.figsize": (6.4, 4.8),
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a column named `$x$` is called that; it is no formula, least of all a faulty one
    "svg.hashsalt": "onelayer",  # without it, identifiers in an SVG are random
}
_FORMATS: Mapping[str, Mapping[str, Any]] = {
    SVG: {"format": "svg", "metadata": {"Date": None}},
    PNG: {"format": "png", "dpi": 120},
}
_NOT_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
"""Characters that no XML may hold, in UTF-8; an SVG repeats every label in a comment."""
_lock = Lock()


def drawn(draw: Callable[["Figure"], None], media_type: str) -> bytes:
    """What `draw` puts into an empty figure, as SVG or PNG; the same content has the same bytes."""
    with _lock:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        # A label in a script that the font lacks shows boxes, which is no reason to fill the log.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        with mpl.rc_context(dict(_SETTINGS)):
            figure = Figure()
            draw(figure)
            picture = io.BytesIO()
            figure.savefig(picture, **_FORMATS[media_type])
    content = picture.getvalue()
    return _NOT_XML.sub(b"", content) if media_type == SVG else content
