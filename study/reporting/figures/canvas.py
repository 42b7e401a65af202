"""Common drawing code: one style, reproducible bytes, colors that the page can replace."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

from study.reporting.document import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Line = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]
INK, SOFT, RULE, BAND, PAPER = "#1c2126", "#5c656f", "#c9ced4", "#e6e9ec", "#fefefe"
"""Colors that the page replaces by CSS variables, for its light and dark theme."""
COLORS = ("#3a7bd5", "#d9730d", "#2c9a6a", "#b0509c", "#8a7a1f", "#7a869a")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Line, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++")
NARROW = 5.2
"""Width in inches at which the text of a figure is readable on a page of 400 px."""
DOTS = 200


@dataclass(frozen=True)
class FigureTexts:
    """Name and texts of a figure; see `Figure`."""

    name: str
    title: str
    description: str
    caption: str = ""


def draw_figure(
    texts: FigureTexts, size: tuple[float, float], paint: Callable[[Canvas], None]
) -> Figure:
    """Draw a figure as SVG and PNG.

    Matplotlib's global state is neither used nor changed, and no date is written, so the same
    analysis gives the same bytes.

    Parameters
    ----------
    texts : FigureTexts
    size : tuple of two float
        Width and height in inches.
    paint : function
        Draws on the canvas.
    """
    from matplotlib.figure import Figure as Canvas

    with _style(texts.name):
        canvas = Canvas(figsize=size, dpi=DOTS, layout="constrained")
        paint(canvas)
        canvas.draw_without_rendering()
        canvas.set_layout_engine(None)  # keep this layout for both files
        svg, png = io.BytesIO(), io.BytesIO()
        no_metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        canvas.savefig(svg, format="svg", transparent=True, metadata=no_metadata)
        canvas.savefig(png, format="png", dpi=DOTS, facecolor="white", metadata={"Software": None})
    return Figure(
        name=texts.name,
        title=texts.title,
        description=texts.description,
        caption=texts.caption,
        svg=svg.getvalue().decode(),
        png=png.getvalue(),
        width=size[0] * 72,
        drawing=canvas,
    )


@contextmanager
def _style(salt: str) -> Iterator[None]:
    import matplotlib as mpl

    sans = ["DejaVu Sans"]  # included in matplotlib, so the same on every machine
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": "sans-serif", "font.sans-serif": sans, "font.size": 8.5,
                "text.parse_math": False, "text.hinting": "none",
                "svg.fonttype": "none", "svg.hashsalt": salt,
                "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT,
                "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
                "axes.titlesize": 9, "axes.titlelocation": "left", "axes.axisbelow": True,
                "grid.color": RULE, "grid.linewidth": 0.6, "lines.linewidth": 1.4,
                "legend.frameon": False, "legend.fontsize": 8, "hatch.linewidth": 0.6,
            }
        )  # fmt: skip
        yield


def label_rows(axes: Axes, names: list[str]) -> None:
    """Write one name per row, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def choose_text_color(shade: float) -> str:
    """Return the color of text on a background of this lightness (0 dark ... 1 light)."""
    return "black" if shade > 0.5 else "white"


def wrap_text(text: str, width: int = 27) -> str:
    """Break a name into lines of at most `width` characters."""
    return "\n".join(line for part in text.split("\n") for line in wrap(part, width))


def compute_row_height(names: list[str], minimum: float = 0.26) -> float:
    """Return the total height in inches of rows with these names."""
    return sum(max(minimum, 0.15 * (1 + name.count("\n")) + 0.05) for name in names)


def set_log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with plain numbers as tick labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    positive = [value for value in values if value > 0]
    is_wide = not positive or max(positive) > 50 * min(positive)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
