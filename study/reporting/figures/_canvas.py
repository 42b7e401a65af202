"""How every figure is drawn: one style, the same bytes every time, colors the page can turn."""

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
"""Colors that a page may replace by its own, so that a figure follows light and dark."""
COLORS = ("#3a7bd5", "#d9730d", "#2c9a6a", "#b0509c", "#8a7a1f", "#7a869a")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Line, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++")
NARROW = 5.2
"""Width, in inches, at which the text of a figure can be read on a page of 400 px."""
DOTS = 200


@dataclass(frozen=True)
class FigureTexts:
    """What is said of a figure; see `Figure`."""

    name: str
    title: str
    description: str
    caption: str = ""


def draw_svg(
    words: FigureTexts, size: tuple[float, float], paint: Callable[[Canvas], None]
) -> Figure:
    """Draw a figure of this size in inches.

    Nothing of matplotlib's global state is used or left behind, and no date is written: the same
    evidence gives the same bytes.
    """
    from matplotlib.figure import Figure as Canvas

    with _style(words.name):
        canvas = Canvas(figsize=size, dpi=DOTS, layout="constrained")
        paint(canvas)
        canvas.draw_without_rendering()
        canvas.set_layout_engine(None)  # laid out once, for both files
        svg, png = io.BytesIO(), io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        canvas.savefig(svg, format="svg", transparent=True, metadata=nothing)
        canvas.savefig(png, format="png", dpi=DOTS, facecolor="white", metadata={"Software": None})
    return Figure(
        name=words.name,
        title=words.title,
        description=words.description,
        caption=words.caption,
        svg=svg.getvalue().decode(),
        png=png.getvalue(),
        width=size[0] * 72,
    )


@contextmanager
def _style(salt: str) -> Iterator[None]:
    import matplotlib as mpl

    sans = ["DejaVu Sans"]  # comes with matplotlib: the same letters everywhere
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
    """Write one name a row, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def readable_on(shade: float) -> str:
    """Black or white: the color of text on an arm of this lightness (0 dark ... 1 light)."""
    return "black" if shade > 0.5 else "white"


def wrap_text(text: str, width: int = 27) -> str:
    """Break a name into lines that leave room for the drawing."""
    return "\n".join(line for part in text.split("\n") for line in wrap(part, width))


def row_height(names: list[str], least: float = 0.26) -> float:
    """Inches that rows with these names need together."""
    return sum(max(least, 0.15 * (1 + name.count("\n")) + 0.05) for name in names)


def log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic with plain numbers along it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    positive = [value for value in values if value > 0]
    wide = not positive or max(positive) > 50 * min(positive)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
