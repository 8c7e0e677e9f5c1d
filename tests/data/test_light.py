from types import SimpleNamespace

import numpy as np
import pytest

from galutils.data.simulate.light import Galaxy, Plane, Scene, arm, band_fluxes, draw, sersic
from galutils.data.stretch import FIELD


@pytest.mark.parametrize("index", [0.5, 1, 2.5, 4])
def test_half_of_a_sersic_profiles_light_is_within_the_half_light_radius(index):
    # In r = exp(t) the light per dt is 2 pi r² times the profile; high indices have wings that are far out.
    t = np.linspace(np.log(1e-6), np.log(1e5), 200_001)
    radius = np.exp(t)
    light = 2 * np.pi * radius**2 * sersic(radius, 3.0, index)
    cumulative = np.cumsum(light) * (t[1] - t[0])
    within = cumulative[np.searchsorted(radius, 3.0)]
    assert within / cumulative[-1] == pytest.approx(0.5, abs=1e-3)
    assert within / (np.pi * 3.0**2) == pytest.approx(1, abs=2e-3)  # its unit is the mean within that radius


def test_an_index_of_one_is_an_exponential():
    # b = 1.678 for an exponential disk (Graham & Driver 2005).
    profile = sersic(np.array([1.0, 2.0, 3.0]), 1.0, 1.0)
    np.testing.assert_allclose(np.diff(np.log(profile)), -1.678, atol=1e-3)


def test_band_fluxes_give_back_magnitude_and_colour():
    g, r, z = 22.5 - 2.5 * np.log10(band_fluxes(0.7, magnitude=18.0, redder=0.1)[:, 0, 0])
    assert r == pytest.approx(18.0, abs=1e-5)
    assert g - r == pytest.approx(0.7, abs=1e-5)
    assert r - z == pytest.approx(0.68 * 0.7 + 0.1, abs=1e-5)


def lit(size=256, **parts) -> Scene:
    """A scene with a galaxy of radius 4 arcsec and 22.5 mag per arcsec²."""
    scene = Scene(size)
    draw(Galaxy(**{"radius": 4.0, "brightness": 22.5, "colour": 0.5} | parts), scene, np.random.default_rng(0))
    return scene


def drawn(**parts):
    """Flux in g, r, z of the galaxy of :func:`lit`, in nanomaggies."""
    scene = lit(**parts)
    return scene.light.sum(axis=(1, 2)) * scene.pixel**2


def test_a_drawn_disk_has_the_light_and_colour_that_it_was_given():
    g, r, _ = drawn(axis_ratio=0.5, angle=0.6)
    # Half of it is one nanomaggie per arcsec² in an ellipse of 4 by 2 arcsec.
    assert r == pytest.approx(2 * np.pi * 4 * 2, rel=0.01)
    assert -2.5 * np.log10(g / r) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("parts", [{"bulge": 0.5, "bulge_radius": 0.6}, {"bar": 0.5, "bar_length": 0.8}])
def test_bulge_and_bar_add_their_share_of_the_bodys_light(parts):
    assert drawn(**parts)[1] / drawn()[1] == pytest.approx(1.5, rel=0.02)


def test_arms_move_light_but_add_little():
    plain, arms = drawn()[1], drawn(arms=2, contrast=0.8, patchy=0.2)[1]
    assert arms / plain == pytest.approx(1, abs=0.2)


def test_a_gradient_reddens_the_centre_and_keeps_the_rim():
    def colour(gradient):
        g, r, _ = lit(gradient=gradient).light[:, 128, [128, 200]]
        return -2.5 * np.log10(g / r)

    np.testing.assert_allclose(colour(0.0), 0.5, atol=1e-3)
    centre, rim = colour(0.4)
    assert centre == pytest.approx(0.9, abs=0.03)
    assert rim == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("parts", [{"flat": 0.2}, {"arms": 2, "contrast": 0.5}])
def test_dust_dims_the_bands_in_their_order(parts):
    g, r, z = drawn(dust=2.0, **parts) / drawn(**parts)
    assert g < r < z < 1


def test_edge_on_disks_are_thin_and_end():
    scene = lit(brightness=20.0, flat=0.2)
    light = scene.light[1]
    along, across = light[128], light[:, 128]
    assert (along > 0.1 * along.max()).sum() > 4 * (across > 0.1 * across.max()).sum()
    # Beyond 4 scale lengths of 0.6 radii an endless disk would still have 1.5% of its light in the plane.
    assert along[np.abs(scene.axis) > 1.2 * 4 * 0.6 * 4.0].max() < 1e-3 * along.max()


def test_deprojection_turns_an_inclined_circle_round():
    t = np.linspace(0, 2 * np.pi, 50)
    u, v = 3 * np.cos(t), 0.4 * 3 * np.sin(t)
    x, y = u * np.cos(0.7) - v * np.sin(0.7), u * np.sin(0.7) + v * np.cos(0.7)
    plane = Plane(x, y, 0.7, 0.4)
    np.testing.assert_allclose(plane.radius, 3)
    np.testing.assert_allclose(plane.project(plane.u, plane.v), (x, y))


def test_stamp_is_the_square_around_a_point():
    scene = Scene(64)
    x, y, light = scene.stamp(5.0, -7.0, 3.0)
    light += 1
    rows, columns = np.nonzero(scene.light[0])
    assert np.abs(scene.axis[columns] - 5).max() <= 3
    assert np.abs(scene.axis[rows] + 7).max() <= 3
    assert len(rows) == x.size * y.size
    assert x.size == pytest.approx(6 / (FIELD / 64), abs=1)
    assert scene.stamp(FIELD, 0, 5.0)[2].size == 0


@pytest.mark.parametrize("pitch", [0.2, 0.5])
def test_arms_are_logarithmic_spirals_of_their_pitch(pitch):
    wound = np.linspace(-np.pi, np.pi, 720, endpoint=False)
    assert arm(wound, 6.0).mean() == pytest.approx(1, abs=1e-6)
    assert arm(wound, 6.0).argmax() == 360
    # Drawn face-on, without their scatter, the crests of two arms stay where ln(radius) grows by tan(pitch) per radian.
    rng = SimpleNamespace(
        **dict.fromkeys(["normal", "uniform"], lambda *_: 0.0), choice=max, random=lambda: 1.0, integers=lambda *_: 0
    )
    rng.uniform = lambda low, high: high if high == 9 else 0.0
    scene = Scene(512)
    galaxy = Galaxy(radius=12.0, brightness=20.0, colour=0.5, index=0.5, arms=2, pitch=pitch, contrast=1.0)
    draw(galaxy, scene, rng)
    crests = []
    for radius in (9.0, 12.0):
        theta = np.linspace(0, np.pi, 360, endpoint=False)
        columns, rows = (np.rint(255.5 + radius / scene.pixel * f(theta)).astype(int) for f in (np.cos, np.sin))
        crests.append(theta[scene.light[1][rows, columns].argmax()])
    moved = np.log((12 / 4.8 + 0.05) / (9 / 4.8 + 0.05)) / np.tan(pitch)  # they begin at 0.4 radii, 4.8 arcsec
    assert (crests[1] - crests[0] - moved + np.pi / 2) % np.pi - np.pi / 2 == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize(
    "parts",
    [
        {"lopsided": 0.3},
        {"knots": 5},
        {"tails": 1, "tail_light": 0.5},
        {"arms": 3, "contrast": 0.8},
        {"flat": 0.2, "lopsided": 0.3},
    ],
)
def test_what_disturbs_a_galaxy_breaks_its_symmetry(parts):
    def asymmetry(**parts):
        light = lit(128, brightness=22.0, **parts).light[1]
        return np.abs(light - light[::-1, ::-1]).sum() / light.sum()

    assert asymmetry() < 1e-3
    assert asymmetry(**parts) > 0.01


def test_patches_break_up_the_arms():
    def structure(patchy):
        scene = lit(128, radius=6.0, brightness=22.0, arms=2, contrast=0.5, patchy=patchy)
        # Two even arms have only even orders around the centre; pieces of arms have others as well.
        theta = np.linspace(0, 2 * np.pi, 256, endpoint=False)
        columns, rows = (np.rint(63.5 + 6.0 / scene.pixel * f(theta)).astype(int) for f in (np.cos, np.sin))
        orders = np.abs(np.fft.rfft(scene.light[1][rows, columns]))
        return orders[5:20].sum() / orders[0]

    assert structure(0.6) > 1.5 * structure(0.0)
