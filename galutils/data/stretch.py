"""From flux in g, r and z to the red, green and blue of the Legacy Surveys' viewer."""

from functools import cache

import numpy as np

#: Native pixel of the survey and width of a cutout, which is the same at any image size; arcsec.
NATIVE_PIXEL = 0.262
FIELD = 256 * NATIVE_PIXEL

#: Factors that the Legacy Surveys' viewer gives g, r and z before they become blue, green and red, and the
#: pedestal that it adds; both per native pixel. Its curve, asinh(Q x) / sqrt(Q) with Q = 20, makes an empty
#: pixel grey level 32.4. LuptonAsinhStretch is the same curve with other names for the constants.
BAND_SCALES = np.array([6.0, 3.4, 2.2], dtype=np.float32)
PEDESTAL = 0.03
STRETCH = {"stretch": 0.23115, "Q": 4.623}


@cache
def _curve():
    from astropy.visualization import LuptonAsinhStretch  # takes longer to import than most commands to answer

    return LuptonAsinhStretch(**STRETCH)


def combine(light: np.ndarray) -> np.ndarray:
    """Bands (3, H, W), g, r, z in units of the viewer, to grey levels (H, W, 3) in red, green, blue.

    Colour is kept up to where a channel saturates, so bright cores turn white as in the survey's cutouts.
    """
    light = light + PEDESTAL
    mean = np.clip(light, 0, None).mean(axis=0) + 1e-6
    return np.moveaxis(np.clip(255 * light * (_curve()(mean) / mean), 0, 255)[::-1], 0, -1)
