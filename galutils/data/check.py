"""What a file of galaxies holds, read through block by block: the report of ``galutils check``."""

from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.classes import GALAXY10, GALAXY10_SDSS, numbered
from galutils.data.galaxies import CLASSES_ATTRIBUTE, Galaxies, open_galaxies
from galutils.data.sources import published
from galutils.data.splits import contradicting_groups, group_rows, keep_arrays, position_pairs, scan_images
from galutils.progress import tracked

#: Sets whose classes are known, and classes that are listed at most.
_KNOWN = {GALAXY10: "Galaxy10 DECaLS, the paper's", GALAXY10_SDSS: "Galaxy10 SDSS, others than the paper's"}
_LISTED = 40


def survey_file(path: str | Path) -> str:
    """Read a file in Galaxy10's layout through, in bounded memory, and say what it is, one fact a line."""
    galaxies = open_galaxies(path)
    blank, digest = scan_images(galaxies)
    blank_rows = list(map(str, np.flatnonzero(blank)))
    places = f" (rows {', '.join(blank_rows[:10])}{', ...' if len(blank_rows) > 10 else ''})" if blank_rows else ""
    pairs = position_pairs(galaxies.ra, galaxies.dec)
    groups = group_rows(pairs, digest)
    repeated = int(np.sum(np.bincount(groups) > 1))
    contradicting = contradicting_groups(galaxies.labels, groups)
    counts = np.bincount(galaxies.labels, minlength=len(galaxies.classes))
    known = published(path)
    lines = [
        f"{path}: {len(galaxies):,} {'simulated ' if galaxies.simulated else ''}galaxies, "
        f"{galaxies.image_size} pixels wide",
        *_class_lines(galaxies.classes, counts),
        f"Blank images: {len(blank_rows)}{places}",
        f"Pairs of rows at the same position: {len(pairs) if galaxies.ra is not None else 'no positions in this file'}",
        f"Galaxies with several rows: {repeated}, with contradicting labels: {len(contradicting)}",
    ]
    for rows in contradicting[:10]:
        names = ", ".join(galaxies.classes[label] for label in galaxies.labels[rows])
        lines.append(f"  rows {', '.join(map(str, rows))}: {names}")
    missing = "no redshifts in this file" if galaxies.redshift is None else np.isnan(galaxies.redshift).sum()
    field = f"{galaxies.field:.1f} arcsec wide" if galaxies.field else "not said by this file"
    checksum = f"that of the published {known.name}" if known else "not that of a published file"
    return "\n".join([*lines, f"Missing redshifts: {missing}", f"Field of view: {field}", f"Checksum: {checksum}"])


def _class_lines(classes: tuple[str, ...], counts: np.ndarray) -> list[str]:
    """How many galaxies each class has, how names are given where there are none, and which classes are too small."""
    lines = [f"  {label} {name}: {count:,}" for label, (name, count) in enumerate(zip(classes, counts, strict=True))]
    if len(lines) > _LISTED:
        lines[_LISTED:] = [f"  and {len(lines) - _LISTED} more"]
    if classes in _KNOWN:
        lines.append(f"These are the classes of {_KNOWN[classes]}.")
    if classes == numbered(len(classes)):
        lines.append(
            "The file does not name its classes: give it an attribute "
            f"'{CLASSES_ATTRIBUTE}', a list of their names, or make it with galutils pack."
        )
    if small := [name for name, count in zip(classes, counts, strict=True) if count < 2]:
        more = f" and {len(small) - 10} more" if len(small) > 10 else ""
        lines.append(f"Too few galaxies to train and test on: {'; '.join(small[:10])}{more}")
    return lines


def measure_images(images: np.ndarray) -> pd.DataFrame:
    """Measure images (N, H, W, 3) uint8 of centred galaxies, one row each.

    Columns: ``sky`` and ``noise`` (median, and 1.48 times the median absolute deviation, of the frame's outer
    eighth; grey levels), ``peak`` (brightest pixel of the central quarter; grey levels), ``half_light_radius``
    (pixels; the circle around the centre that holds half of the light within half the frame, above the sky),
    ``colour`` (red over blue light within that circle; 1 is neutral), ``axis_ratio`` (short over long axis of the
    light more than three ``noise`` above the sky, by its second moments) and ``concentration`` (5 log10 of the radii
    that hold 80% and 20% of the light; Conselice 2003). Grey levels are a stretched display of the flux, so sizes and
    colours are those of the picture, not photometry. NaN where there is no light.
    """
    height, width = images.shape[1:3]
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    edge = max(1, height // 8)
    border = np.ones((height, width), bool)
    border[edge:-edge, edge:-edge] = False
    inside = radius <= min(height, width) / 4
    order = np.argsort(radius[inside], kind="stable")
    sorted_radius, places = radius[inside][order], np.stack([x[inside], y[inside]])
    rows = []
    for image in images:
        grey = image.mean(axis=2)
        sky = np.median(grey[border])
        noise = 1.4826 * np.median(np.abs(grey[border] - sky))
        central = grey[inside] - sky
        light = np.clip(central, 0, None)[order].cumsum()
        within = np.searchsorted(light, light[-1] * np.array([0.2, 0.5, 0.8]))
        small, half, large = sorted_radius[within] if light[-1] > 0 else np.full(3, np.nan)
        body = radius <= (half if np.isfinite(half) else 1)
        red, blue = (np.clip(image[body][:, channel] - sky, 0, None).sum() for channel in (0, 2))
        colour = red / blue if blue > 0 else np.nan
        concentration = 5 * np.log10(large / max(small, 0.5))  # half a pixel: below it a radius means nothing
        ratio = _axis_ratio(places, np.where(central > 3 * noise, central, 0))
        rows.append((sky, noise, grey[inside].max(), half, colour, ratio, concentration))
    columns = ["sky", "noise", "peak", "half_light_radius", "colour", "axis_ratio", "concentration"]
    return pd.DataFrame(rows, columns=columns)


def _axis_ratio(places: np.ndarray, light: np.ndarray) -> float:
    """Short over long axis, 0 to 1, of light (n,), none negative, at places (2, n)."""
    if light.sum() <= 0:
        return np.nan
    low, high = np.linalg.eigvalsh(np.cov(places, aweights=light, bias=True))
    return float(np.sqrt(max(low, 0) / high)) if high > 0 else np.nan


def measure_once(galaxies: Galaxies, block: int = 256) -> pd.DataFrame:
    """:func:`measure_images` of all rows, kept beside the files of galaxies for the next time."""

    def measure() -> pd.DataFrame:
        count = len(galaxies)
        blocks = tracked(np.split(np.arange(count), range(block, count, block)), count, "image", weight=len)
        return pd.concat([measure_images(galaxies.read_images(rows)) for rows in blocks], ignore_index=True)

    return pd.DataFrame(keep_arrays(galaxies, "measurements", measure, "data/check.py", "data/galaxies.py"))
