"""Pictures mean what they show: every way in which a FITS file or an image states bands, units, scale and north."""

import bz2
import gzip

import numpy as np
import pytest
from astropy.io import fits
from conftest import SHARED
from fakes import assert_said, refusal
from PIL import Image

from galutils.data.image_files import Reading, describe_frame, read_picture

PIXEL, FIELD = 0.262, 67.072


def viewer(g, r, z):
    """Red, green and blue that the Legacy Surveys' viewer gives these nanomaggies, by its published formula."""
    red, green, blue = 2.2 * z + 0.03, 3.4 * r + 0.03, 6.0 * g + 0.03
    mean = (red + green + blue) / 3
    return [round(255 * plane * np.arcsinh(20 * mean) / np.sqrt(20) / mean) for plane in (red, green, blue)]


GREY = viewer(0.05, 0.05, 0.05)
G, R, Z = 0.015, 0.03, 0.05
COLOUR = viewer(G, R, Z)


def cube(*values, size=16):
    return np.stack([np.full((size, size), value, np.float32) for value in values])


def sky(scale=PIXEL, turn=(-1, 0, 0, 1), **more):
    """A header with world coordinates, and more."""
    turned = dict(zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), np.array(turn) * scale / 3600, strict=True))
    return fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 180.0, "CRVAL2": 10.0} | turned | more)


def save(path, data, header=None, **more):
    fits.writeto(path, data, header if header is not None else fits.Header(more))
    return path


def middle(picture):
    return picture.image[len(picture.image) // 2, len(picture.image) // 2].tolist()


def refused(source, sentence, *how):
    assert_said(refusal(read_picture, source, *how), sentence, source)


def test_the_surveys_own_cutouts_look_the_same_at_every_pixel_scale(tmp_path):
    for number, scale in enumerate((0.131, 0.262, 0.524, 1.048)):
        for mark in ({"BANDS": "grz"}, {"BAND0": "g", "BAND1": "r", "BAND2": "z"}, {"IMAGEW": 16.0, "BANDS": "g,r,z"}):
            path = tmp_path / f"{number}{len(mark)}{'IMAGEW' in mark}.fits"
            picture = read_picture(save(path, cube(0.05, 0.05, 0.05), sky(scale, **mark)))
            assert middle(picture) == GREY
            assert picture.pixel_scale == pytest.approx(scale)


@pytest.mark.parametrize("scale", [0.131, 0.396, 1.0])
def test_files_that_conserve_flux_look_the_same_too(tmp_path, scale):
    area = (scale / PIXEL) ** 2
    header = sky(scale, FILTER1="g", FILTER2="r", FILTER3="z", BUNIT="nanomaggy")
    picture = read_picture(save(tmp_path / "a.fits", cube(G, R, Z) * area, header))
    assert (middle(picture), picture.notes) == (COLOUR, ("blank",))


NO_FLUX = ", which is no calibrated flux; convert it to nanomaggies (of a magnitude zero point ZP: times "
NO_FLUX += "10^(0.4 (22.5 - ZP)))."
COUNTS = "{path}: holds %s without a unit, counts or a picture; give flux in nanomaggies, or a picture as PNG."
MICROJANSKY, STERADIAN = 1 / 3.631, (PIXEL / 206264.806) ** 2

PLANES = {
    "BANDS in any order": (cube(Z, R, G), {"BANDS": "zrg"}, {}, COLOUR),
    "BANDS of four": (cube(G, R, 9, Z), {"BANDS": "GRIZ"}, {}, COLOUR),
    "BAND0 and on": (cube(Z, R, G), {"BAND0": "z", "BAND1": "r", "BAND2": "g"}, {}, COLOUR),
    "FILTER1 and on": (cube(Z, R, G), {"FILTER1": "z DECam c3", "FILTER2": "HSC-R", "FILTER3": "sdss_g"}, {}, COLOUR),
    "named": (cube(Z, R, G), {}, {"bands": "zrg"}, COLOUR),
    "other bands": (cube(G, R, Z), {"BANDS": "gri"}, {"bands": "gri"}, viewer(G, R, Z * 3.0 / 2.2)),
    "names of other bands": (cube(G, R, Z), {}, {"bands": "F435W,F606W,F814W"}, COLOUR),
    "one band in grey": (cube(R)[0], {"BANDS": "r"}, {"grey": True}, viewer(R * 3.4 / 6, R, R * 3.4 / 2.2)),
    "four axes": (cube(G, R, Z)[None], {"BANDS": "grz"}, {}, COLOUR),
    "microjansky": (cube(G, R, Z) * 3.631, {"BANDS": "grz", "BUNIT": "uJy/pix"}, {}, COLOUR),
    "maggies": (cube(G, R, Z) * 1e-9, {"BANDS": "grz", "BUNIT": "maggies per pixel"}, {}, COLOUR),
    "MJy/sr": (cube(G, R, Z) / (1e12 * STERADIAN * MICROJANSKY), {"BANDS": "grz", "BUNIT": "MJy/sr"}, {}, COLOUR),
    "nMgy/arcsec^2": (cube(G, R, Z) / PIXEL**2, {"BANDS": "grz", "BUNIT": "nMgy/arcsec^2"}, {}, COLOUR),
    "scaled integers": (cube(G, R, Z), {"BANDS": "grz", "scaled": True}, {}, COLOUR),
    "counts": (cube(1, 2, 3), {"BANDS": "grz", "BUNIT": "electron/s"}, {}, "{path}: is in 'electron/s'" + NO_FLUX),
    "magnitudes": (cube(20, 20, 20), {"BANDS": "grz", "BUNIT": "mag"}, {}, "{path}: is in 'mag'" + NO_FLUX),
    "bytes": (cube(9, 9, 9).astype(np.uint8), {"BANDS": "grz"}, {}, COUNTS % "uint8"),
    "integers": (cube(9, 9, 9).astype(np.int16), {}, {}, COUNTS % "int16"),
    "one band": (
        cube(R)[0], {"FILTER": "r"}, {},
        "{path}: holds one band, r; give g, r and z (three files at once as 'image-{band}.fits'), or ask for grey.",
    ),
    "bands that are not trained on": (
        cube(G, R, Z), {"BANDS": "ugr"}, {},
        "{path}: holds the bands u, g, r; give g, r and z, or name three bands, "
        "which are shown as blue, green and red.",
    ),
    "bands that are not there": (
        cube(G, R, Z), {"BANDS": "grz"}, {"bands": "gri"}, "{path}: holds the bands g, r, z, not i; name others.",
    ),
    "too few names": (
        cube(G, R, Z), {}, {"bands": "gr"}, "{path}: has 3 planes, but 2 bands are named; name each plane in order.",
    ),
    "four planes": (
        cube(G, R, 9, Z), {}, {}, "{path}: has 4 planes and does not say of which bands; name them, such as griz.",
    ),
    "BANDS of another number": (
        cube(G, R, Z), {"BANDS": "griz"}, {}, "{path}: has 3 planes but the bands 'griz'; mend BANDS in its header.",
    ),
    "many cubes": (
        cube(*range(6)).reshape(2, 3, 16, 16), {}, {},
        "{path}: has shape (2, 3, 16, 16); give one plane for each band.",
    ),
    "nothing finite": (
        cube(np.nan, np.nan, np.nan), {}, {},
        "{path}: has no finite pixel; the survey may not have seen this place.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "header", "reading", "expected"), PLANES.values(), ids=PLANES)
def test_bands_and_units(tmp_path, data, header, reading, expected):
    header, path = dict(header), tmp_path / "a.fits"
    if header.pop("scaled", False):
        hdu = fits.PrimaryHDU(data, fits.Header(header))
        hdu.scale("int16", bscale=1e-5, bzero=0.1)
        hdu.writeto(path)
    else:
        save(path, data, **header)
    if isinstance(expected, str):
        refused(path, expected, Reading(**reading))
    else:
        np.testing.assert_allclose(middle(read_picture(path, Reading(**reading))), expected, atol=1)


def test_what_is_assumed_is_said(tmp_path):
    def notes(data=None, header=None, field=None, **reading):
        path = tmp_path / "a.fits"
        path.unlink(missing_ok=True)
        data = cube(G, R, Z) if data is None else data
        return read_picture(save(path, data, header), Reading(**reading), field).notes[:-1]  # the last: blank

    silent = "FITS header without %s: taken as the Legacy Surveys'"
    assert notes() == (silent % "bands, units, pixel scale",)
    assert notes(header=fits.Header({"BUNIT": "MJy/sr"}), bands="grz") == ()
    assert notes(header=sky(BUNIT="nanomaggy"), bands="gri") == ("other bands: g, r, i",)
    assert notes(header=sky(3600, BANDS="grz")) == ("implausible pixel scale of 3.6e+03 arcsec not used",)
    assert notes(header=sky(BANDS="grz"), pixel_scale=0.4) == ("its own pixel scale is 0.262 arcsec, not 0.4",)
    assert notes(header=sky(BANDS="grz"), pixel_scale=0.265) == ()
    assert notes(header=sky(BANDS="grz"), field=FIELD) == ("shows 4.19 of 67.1 arcsec",)
    holes = np.random.default_rng(0).normal(size=(3, 16, 16)).astype("f4")
    holes[1] = 0
    path = save(tmp_path / "b.fits", holes, sky(BANDS="grz"))
    assert read_picture(path).notes[0] == "no data in r"
    holes[1], holes[:, :4] = 0.1 * holes[0], -9999
    path = save(tmp_path / "c.fits", holes, sky(BANDS="grz"))
    assert read_picture(path).notes[0] == "25.0% of the pixels without data"


@pytest.mark.parametrize(
    "header",
    [
        {"CDELT1": 1.0, "CDELT2": 1.0},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CDELT1": 1.0, "CDELT2": 1.0},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": 0.0, "CD2_2": 0.0},
        {},
    ],
    ids=["no unit", "no scale", "pixels", "singular", "nothing"],
)
def test_no_pixel_scale_is_made_up(tmp_path, header):
    picture = read_picture(save(tmp_path / "a.fits", cube(0.05, 0.05, 0.05), BANDS="grz", **header))
    assert (middle(picture), picture.pixel_scale) == (GREY, None)


def test_the_pixel_scale_alone_is_wanted(tmp_path):
    lookup = sky(BANDS="grz", CPDIS1="LOOKUP", CPDIS2="LOOKUP")  # a distortion whose table is not at hand
    linear = {f"{key}{axis}": value for key, value in (("CTYPE", "LINEAR"), ("CDELT", 0.5), ("CUNIT", "arcsec"))
              for axis in (1, 2)}  # fmt: skip
    for name, header, scale in (("lookup", lookup, PIXEL), ("linear", fits.Header({"BANDS": "grz"} | linear), 0.5)):
        picture = read_picture(save(tmp_path / f"{name}.fits", cube(G, R, Z), header))
        assert (middle(picture), picture.pixel_scale) == (COLOUR, pytest.approx(scale))


@pytest.mark.parametrize(
    "turn",
    [(-1, 0, 0, 1), (-1, 0, 0, -1), (1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, 1, 0), (-0.9, 0.4, 0.4, 0.9)],
    ids=["as the survey's", "south up", "mirrored", "upside down", "a quarter", "another", "by 24 degrees"],
)
def test_north_is_up_and_east_left(tmp_path, turn):
    x, y = np.rint(np.linalg.solve(np.reshape(turn, (2, 2)), (3, 5))).astype(int)  # 3 pixels east, 5 north
    data = np.zeros((3, 17, 17), np.float32)
    data[:, 8 + y, 8 + x] = 1
    image = read_picture(save(tmp_path / "a.fits", data, sky(turn=turn, BANDS="grz"))).image
    ((row, column),) = np.argwhere(image[..., 0] > 100)
    assert abs(row - 3) + abs(column - 5) <= (0 if 0 in turn else 4)


def test_the_field_is_cut_or_filled_to_what_is_wanted(tmp_path):
    wide = np.zeros((3, 512, 600), np.float32)
    wide[:, 128:384, 172:428] = 0.05
    picture = read_picture(save(tmp_path / "wide.fits", wide, sky(BANDS="grz")), field=FIELD)
    assert picture.image.shape == (256, 256, 3)
    assert (picture.image == GREY).all()
    narrow = np.full((32, 40, 3), (10, 20, 30), np.uint8)
    narrow[10:20, 10:30] = 200
    Image.fromarray(narrow).save(tmp_path / "narrow.png")
    for reading in (Reading(pixel_scale=1.0), Reading(field=32.0)):
        picture = read_picture(tmp_path / "narrow.png", reading, field=64.0)
        assert (picture.pixel_scale, picture.notes) == (1.0, ("shows 32 of 64 arcsec",))
        np.testing.assert_array_equal(picture.image[16:48, 12:52], narrow)
        assert (picture.image[:16] == (10, 20, 30)).all()
    for field in (None, 64.0):  # nobody says how large it is
        picture = read_picture(tmp_path / "narrow.png", field=field)
        assert (picture.image.shape, picture.pixel_scale, picture.notes) == ((32, 32, 3), None, ())
    path, large = tmp_path / "narrow.png", "{path}: 2e+04 arcsec would be 2000000 of its pixels; give a smaller field."
    refused(path, large, Reading(pixel_scale=0.01), 2e4)
    few = "{path}: has 2 pixels across the 20 arcsec that are wanted; 8 is the least."
    refused(path, few, Reading(pixel_scale=10), 20)
    assert refusal(Reading, pixel_scale=-1) == "pixel_scale is -1; give arcsec above 0."


def test_bands_in_several_extensions_or_files(tmp_path):
    parts = [fits.PrimaryHDU()]
    for band, value in zip("zrg", (Z, R, G), strict=True):  # as the viewer's "subimage" gives them
        for kind, content in (("invvar", 9e4), ("image", value)):
            header = sky(0.5, BAND=band, IMAGETYP=kind, IMAGEW=16.0)
            parts.append(fits.ImageHDU(cube(content)[0], header))
        save(tmp_path / f"cut-{band}.fits", cube(value)[0], sky(0.5, IMAGEW=16.0))
    fits.HDUList(parts).writeto(tmp_path / "all.fits")
    for name in ("all.fits", "cut-{band}.fits"):
        picture = read_picture(tmp_path / name)
        assert (middle(picture), picture.pixel_scale, picture.notes) == (COLOUR, pytest.approx(0.5), ("blank",))
    parts[2].data = cube(Z, size=9)[0]
    fits.HDUList(parts).writeto(tmp_path / "uneven.fits")
    refused(tmp_path / "uneven.fits", "{path}: has bands of different sizes; cut them out alike.")
    parts[2] = fits.ImageHDU(cube(Z)[0], sky(0.4, BAND="z", IMAGEW=16.0))
    fits.HDUList(parts).writeto(tmp_path / "scales.fits")
    refused(tmp_path / "scales.fits", "{path}: has bands of different pixel scales; cut them out alike.")
    Image.new("RGB", (16, 16)).save(tmp_path / "cut-r.fits", format="png")
    refused(tmp_path / "cut-{band}.fits", f"{tmp_path}/cut-r.fits: is not FITS; only FITS files can hold a band each.")


def damaged(content):
    """With some bytes in the middle overwritten."""
    half = len(content) // 2
    return content[:half] + b"\xff" * 2000 + content[half + 2000 :]


def test_fits_is_known_by_its_content(tmp_path):
    path = save(tmp_path / "fits-cutout?ra=180&dec=10", cube(G, R, Z), sky(BANDS="grz"))
    whole = path.read_bytes()
    for content in (path, whole, gzip.compress(whole), bz2.compress(whole)):
        assert middle(read_picture(content)) == COLOUR
    noise = np.random.default_rng(0).normal(0.1, 0.1, (3, 64, 64)).astype(np.float32)
    packed = fits.CompImageHDU(noise, sky(BANDS="grz"), compression_type="RICE_1")
    packed.writeto(tmp_path / "a.fits.fz")
    save(tmp_path / "a.fits", packed.data, sky(BANDS="grz"))
    rice = (tmp_path / "a.fits.fz").read_bytes()
    found, expected = (read_picture(tmp_path / name).image.astype(int) for name in ("a.fits.fz", "a.fits"))
    assert np.abs(found - expected).mean() < 2
    unreadable = "the image: cannot be read as FITS (…); get it again."
    for content in (damaged(rice), rice[: len(rice) // 2], whole[:4000]):
        refused(content, unreadable)
    packed = bytearray(gzip.compress((tmp_path / "a.fits").read_bytes()))
    packed[-6] ^= 1  # of the checksum
    refused(bytes(packed), "the image: is packed and damaged (…); get it again.")
    refused(gzip.compress(whole)[:200], "the image: is packed and damaged (…); get it again.")
    refused(b"", "row 7: is empty; get it again.", None, None, "row 7")


def test_images_are_turned_as_they_are_to_be_seen(tmp_path):
    image, exif = Image.new("RGB", (16, 16)), Image.Exif()
    image.putpixel((15, 0), (255, 0, 0))
    exif[274] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.argwhere(read_picture(tmp_path / "turned.png").image[..., 0]).tolist() == [[15, 15]]


def test_deep_grey_and_further_pages(tmp_path):
    ramp = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    picture = read_picture(tmp_path / "deep.png")
    np.testing.assert_array_equal(picture.image, np.repeat(np.arange(256).reshape(16, 16, 1), 3, axis=2))
    assert picture.notes == ("grey",)
    pages = [Image.new("L", (16, 16), level) for level in (10, 120, 240)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert read_picture(tmp_path / "pages.tif").notes == ("the first of 3 pages", "blank")
    Image.fromarray(ramp.astype(np.int32) * 2).save(tmp_path / "int.tif")
    beyond = "{path}: has grey levels beyond 0 to 65535; save it with 8 or 16 bits, or as FITS."
    refused(tmp_path / "int.tif", beyond)
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "float.tif")
    refused(tmp_path / "float.tif", "{path}: has pixels of kind F; save it with 8 or 16 bits, or as FITS.")
    refused(np.zeros((16, 16, 4), np.uint8), "the image: has shape (16, 16, 4), not (height, width, 3).")


def test_empty_sky_is_told_from_galaxies(tmp_path, simulated):
    rng = np.random.default_rng(0)
    for number in range(20):
        noise = rng.normal(0, 0.02, (3, 128, 128)).astype(np.float32)
        path = save(tmp_path / f"{number}.fits", noise, sky(BANDS="grz"))
        assert read_picture(path).notes == ("empty sky",)
        assert describe_frame(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) == ("empty sky",)
    assert not any(describe_frame(image) for image in simulated.read_images(np.arange(len(simulated))))
    assert read_picture(save(tmp_path / "none.fits", np.zeros((3, 64, 64), "f4"), BANDS="grz")).notes == ("blank",)


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="real galaxies are not at hand")
def test_real_pictures():
    for folder, notes in (("galaxy10_subset", ()), ("other/efigi", ()), ("other/euclid_q1", ("grey",))):
        for path in sorted((SHARED / "data" / folder / "images").iterdir())[::20]:
            assert read_picture(path).notes == notes
    cutouts = SHARED / "data/fits"
    for name, notes in (
        ("AstroCLIP_test_image", ()),
        ("pysersic_cutout", ()),  # g, r and z among inverse variances
        ("decals_temp_small", ("shows 58.9 of 67.1 arcsec",)),
    ):
        picture = read_picture(cutouts / f"{name}.fits", field=FIELD)
        assert (picture.image.shape, picture.notes) == ((256, 256, 3), notes)
        assert picture.pixel_scale == pytest.approx(PIXEL)
    one = cutouts / "hyrax_10-cutout-HSC-I-8279-pdr2_wide.fits"
    in_grey = ("FITS header without units: taken as the Legacy Surveys'", "grey")
    assert read_picture(one, Reading(grey=True)).notes == in_grey
