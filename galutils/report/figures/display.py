"""Figures on a page: drawings as SVG, photographs as WebP, both with words for those who cannot see them."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import numpy as np
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image

#: Okabe and Ito's palette: eight colours that colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")

#: Pixels per inch at which figures stand on a page; saved ones have twice as many, for fine screens.
CSS_DPI = 96

#: How much of its width a figure keeps on a phone, where it can be scrolled, so that its words stay readable.
LEAST = 0.72

STYLE = {
    "figure.dpi": CSS_DPI,
    "savefig.dpi": 2 * CSS_DPI,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "axes.titlesize": 11,
    "svg.fonttype": "none",
    "svg.hashsalt": "galutils",
}


@dataclass(frozen=True)
class Gallery:
    """Images with a title each, which :func:`show` sets as text and pictures rather than draws.

    So they are as sharp as the data, wrap on a phone, and can be read aloud.
    """

    images: np.ndarray
    titles: Sequence[str]
    columns: int


def show(figure: Figure | Gallery, alt: str, vector: bool = True) -> None:
    """Display a figure with alternative text.

    Args:
        figure: what one of the functions here returned.
        alt: what the figure shows, for those who cannot see it.
        vector: SVG for line drawings; pixels where there are photographs or thousands of points.
    """
    label = escape(alt, quote=True)
    if isinstance(figure, Gallery):
        display(HTML(f'<figure class="gallery" aria-label="{label}">{_gallery_html(figure)}</figure>'))
    elif vector:
        display(HTML(f'<figure class="drawing" role="img" aria-label="{label}">{draw_svg(figure)}</figure>'))
    else:
        buffer = io.BytesIO()
        with mpl.rc_context(STYLE):
            figure.savefig(buffer, format="png", bbox_inches="tight")
        drawn = Image.open(buffer).convert("RGB")
        width, height = (round(side * CSS_DPI / STYLE["savefig.dpi"]) for side in drawn.size)
        size = f'width="{width}" height="{height}" style="--least: {round(LEAST * width)}px"'
        image = f'<img src="{webp_url(drawn)}" {size} alt="{label}">'
        display(HTML(f'<figure class="photograph">{image}</figure>'))


def draw_svg(figure: Figure) -> str:
    """A figure as an SVG element without background, whose black is the text colour of the page around it.

    An artist's gid ``data:name=value`` becomes the attribute ``data-name="value"``, for the page's script.
    """
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue().decode()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"""id=(["'])data:(\w+)=(.*?)\1""", r"data-\2=\1\3\1", svg)
    width = float(re.search(r'width="([\d.]+)pt"', svg).group(1)) * CSS_DPI / 72
    opening = f'<svg fill="currentColor" style="--least: {round(LEAST * width)}px" '
    return svg.replace("<svg ", opening, 1).replace("stroke: #000000", "stroke: currentColor")


def _gallery_html(gallery: Gallery) -> str:
    """The gallery as a grid that has at most its columns, and fewer where the page is narrow."""
    gap = 0.6
    share = f"(100% - {gap * (gallery.columns - 1):g}rem) / {gallery.columns}"
    side = gallery.images.shape[1] if len(gallery.images) else 0
    cells = []
    for image, title in zip(gallery.images, gallery.titles, strict=True):
        source = webp_url(Image.fromarray(image))
        picture = f'src="{source}" width="{side}" height="{side}" style="width: 100%; height: auto"'
        caption = "<br>".join(escape(line) for line in str(title).splitlines())
        cells.append(
            f'<div><img {picture} alt="Galaxy: {escape(" ".join(str(title).split()), quote=True)}">'
            f'<div style="font-size: .8em; line-height: 1.3">{caption}</div></div>'
        )
    style = f"display: grid; gap: {gap}rem; grid-template-columns: repeat(auto-fill, minmax(max(6.5rem, {share}), 1fr))"
    return f'<div style="{style}">{"".join(cells)}</div>'


def webp_url(image: Image.Image, quality: int = 88) -> str:
    """A picture as a data URL, WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=quality, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def new_figure(width: float, height: float, **grid) -> tuple[Figure, np.ndarray]:
    """A figure outside pyplot's registry, so that nothing is shown twice or kept alive."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(**grid, squeeze=False)
    return figure, axes


def image_grid(images: np.ndarray, titles: Sequence[str], columns: int = 5) -> Gallery:
    """Images (n, H, W, 3) uint8 with a title each, so many side by side where there is room."""
    return Gallery(images, titles, columns)
