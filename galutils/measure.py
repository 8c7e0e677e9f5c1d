"""First-order measurements of galaxy images: sky, noise, peak, size, colour. No fitting."""

import numpy as np
import pandas as pd


def measure_images(images: np.ndarray) -> pd.DataFrame:
    """Measure images of centred galaxies.

    Args:
        images: (N, H, W, 3) uint8.

    Returns:
        one row per image: ``sky`` and ``noise`` (median, and 1.48 times the median absolute deviation, of
        the frame's outer eighth; grey levels), ``peak`` (brightest pixel of the central quarter; grey
        levels), ``half_light_radius`` (pixels; the circle around the centre that holds half of the light
        within half the frame, above the sky) and ``colour`` (red over blue light within that circle; 1 is
        neutral). Grey levels are a stretched display of the flux, so sizes and colours are those of the
        picture, not photometry.
    """
    height, width = images.shape[1:3]
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    edge = max(1, height // 8)
    border = np.ones((height, width), bool)
    border[edge:-edge, edge:-edge] = False
    inside = radius <= min(height, width) / 4
    order = np.argsort(radius[inside], kind="stable")
    sorted_radius = radius[inside][order]
    rows = []
    for image in images:
        grey = image.mean(axis=2)
        sky = np.median(grey[border])
        noise = 1.4826 * np.median(np.abs(grey[border] - sky))
        light = np.clip(grey - sky, 0, None)[inside][order].cumsum()
        total = light[-1]
        half = sorted_radius[np.searchsorted(light, total / 2)] if total > 0 else np.nan
        body = radius <= (half if np.isfinite(half) else 1)
        red, blue = (np.clip(image[body][:, channel] - sky, 0, None).sum() for channel in (0, 2))
        rows.append((sky, noise, grey[inside].max(), half, red / blue if blue > 0 else np.nan))
    return pd.DataFrame(rows, columns=["sky", "noise", "peak", "half_light_radius", "colour"])
