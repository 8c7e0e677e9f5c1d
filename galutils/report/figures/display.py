"""Figures on a page: drawings as SVG, pictures as WebP, both with words for those who cannot see them."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image

#: Okabe and Ito's palette, which colour-blind readers can tell apart; for their yellow, lost on white, an olive.
PALETTE = sns.color_palette(["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A1F", "#000000"])
#: Further ones, for classes.
MORE = sns.color_palette(["#A3428A", "#7C8794", "#8F7BD1"])

#: Marks that tell apart what colours alone do not.
MARKERS = "osD^vPX*"

#: Pixels per inch at which figures stand on a page; saved ones have twice as many, for fine screens.
CSS_DPI = 96

#: How a line that others are held against is drawn.
REFERENCE = {"color": "grey", "linestyle": ":", "linewidth": 1}

#: Seaborn's theme, and what our pages need beyond it. The font comes with matplotlib: drawings are alike everywhere.
STYLE = {
    **sns.axes_style("ticks", {"axes.spines.top": False, "axes.spines.right": False, "patch.force_edgecolor": False}),
    **sns.plotting_context("paper", font_scale=1.05),
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "figure.dpi": CSS_DPI,
    "font.sans-serif": ["DejaVu Sans"],
    "grid.alpha": 0.2,
    "grid.color": "0.5",
    "legend.frameon": False,
    "savefig.dpi": 2 * CSS_DPI,
    "svg.fonttype": "none",
    "svg.hashsalt": "galutils",
}


def class_palette(count: int) -> list[tuple[float, float, float]]:
    """So many colours: of the palette but black, which is lost on a dark page, and further ones; or dark and light."""
    if count <= 10:
        return [*PALETTE[:-1], *MORE][:count]
    return sns.husl_palette(count, l=0.4)[::2] + sns.husl_palette(count, l=0.75)[1::2]


@dataclass(frozen=True)
class ImageGrid:
    """Pictures as sharp as the data, and text that can be read aloud, where a figure would draw both."""

    images: np.ndarray  # (n, H, W, 3) uint8
    titles: Sequence[str]
    rows: Sequence[int] | None = None  # of the file, for the report to link each to the explorer


def show(
    figure: Figure | ImageGrid,
    alt: str,
    data: pd.DataFrame | dict[str, pd.DataFrame] | None = None,
) -> None:
    """Display a figure, with ``alt`` to say what it shows.

    data: what is drawn, to be had as CSV beside the figure; several tables are joined, each with its name.
    """
    label, link = escape(alt, quote=True), "" if data is None else _csv_link(data)
    if isinstance(figure, ImageGrid):
        display(HTML(f'<figure class="gallery" aria-label="{label}">{_gallery_html(figure)}</figure>'))
    else:
        display(HTML(f'<figure class="drawing" role="img" aria-label="{label}">{draw_svg(figure)}{link}</figure>'))


def say_nothing(why: str) -> None:
    """Say why there is nothing to show; the report leaves out a section that shows nothing else."""
    display({"text/plain": why}, raw=True, metadata={"nothing": True})


def draw_svg(figure: Figure) -> str:
    """An SVG element without background; black and seaborn's near-black are the page's text, white its ground.

    An artist's gid ``data:name=value`` becomes the attribute ``data-name="value"``, for the page's script.
    """
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue().decode()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"data:image/png;base64,([^\"]*)", _png_as_webp, svg)
    svg = re.sub(r"""id=(["'])data:(\w+)=(.*?)\1""", r"data-\2=\1\3\1", svg)
    svg = re.sub(r": #(000000|262626)\b", ": currentColor", svg.replace("<svg ", '<svg fill="currentColor" ', 1))
    return svg.replace(": #ffffff", ": var(--paper, #ffffff)")


def _png_as_webp(found: re.Match) -> str:
    """Pictures within a drawing, a fifth as large."""
    return webp_url(Image.open(io.BytesIO(base64.b64decode(found[1]))))


def _csv_link(data: pd.DataFrame | dict[str, pd.DataFrame]) -> str:
    if isinstance(data, dict):
        data = pd.concat(data, names=["title"]).reset_index("title")
    coded = base64.b64encode(data.to_csv(index=False).encode()).decode()
    return f'<a class="csv" download="figure.csv" href="data:text/csv;base64,{coded}">CSV</a>'


def _gallery_html(gallery: ImageGrid) -> str:
    side = gallery.images.shape[1] if len(gallery.images) else 0
    cells = []
    rows = [None] * len(gallery.images) if gallery.rows is None else gallery.rows
    for image, title, row in zip(gallery.images, gallery.titles, rows, strict=True):
        known = "" if row is None else f' data-row="{row}"'
        size = f'width="{side}" height="{side}" style="width: 100%; max-width: {2 * side}px; height: auto"'
        words = escape(" ".join(title.split()), quote=True)
        caption = "<br>".join(map(escape, title.splitlines()))
        cells.append(
            f'<div><img src="{webp_url(Image.fromarray(image))}" {size} alt="Galaxy: {words}"{known}>'
            f'<div style="font-size: .8em; line-height: 1.3">{caption}</div></div>'
        )
    # Five columns, fewer where the page is narrow, and no picture more than twice as large as it is.
    columns = f"repeat(auto-fill, minmax(max(min(6.5rem, {2 * side}px), (100% - 2.4rem) / 5), 1fr))"
    width = f"max-width: calc({10 * side}px + 2.4rem)"
    style = f"display: grid; gap: 0.6rem; {width}; grid-template-columns: {columns}"
    return f'<div style="{style}">{"".join(cells)}</div>'


def webp_url(image: Image.Image, quality: int = 88) -> str:
    """A picture as a data URL, WebP. More effort than this takes sixteen times as long and saves half a percent."""
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def new_figure(width: float, height: float, **grid) -> tuple[Figure, np.ndarray]:
    """A figure of this size in inches, outside pyplot's registry, so that nothing is shown twice or kept alive.

    As seaborn.set_theme does, this sets the theme for the process: what is added to the figure later has it too.
    """
    mpl.rcParams.update(STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**grid, squeeze=False)


def new_panels(count: int, columns: int, width: float, height: float, **grid) -> tuple[Figure, np.ndarray]:
    """A figure of so many axes (count,), each of this size in inches, at most so many in a row."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = new_figure(width * columns, height * rows, nrows=rows, ncols=columns, **grid)
    for ax in axes.flat[count:]:
        ax.axis("off")
    return figure, axes.flat[:count]
