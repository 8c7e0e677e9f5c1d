import numpy as np
import pytest
from astropy import units
from astropy_healpix import lonlat_to_healpix
from fakes import refusal, write_layout

from galutils.data import splits
from galutils.data.classes import GALAXY10
from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.splits import group_rows, position_pairs, read_split, scan_images, scan_once, split_rows


def split(labels, ra=None, dec=None, scan=None, **options):
    """Of a file of such galaxies, which are all different where no scan is given."""
    labels = np.asarray(labels)
    galaxies = Galaxies("memory.h5", labels, image_size=8, simulated=False, classes=GALAXY10, ra=ra, dec=dec)
    return split_rows(galaxies, scan=scan or distinct(len(labels)), **options)


def distinct(count):
    return np.zeros(count, bool), np.array([f"{row:04d}" for row in range(count)])


def test_groups_join_pairs_and_equal_pixels_transitively():
    digest = np.array(["a", "b", "c", "b", "d", "e"])
    assert group_rows(np.array([[0, 1], [4, 5]]), digest).tolist() == [0, 0, 1, 0, 2, 2]


def test_position_pairs_by_hand():
    arcsec = 1 / 3600
    ra = np.array([10.0, 10.0, 10.0, 200.0, np.nan, 359.9999])
    dec = np.array([0.0, 0.9 * arcsec, 1.5 * arcsec, 0.0, 0.0, 0.0])
    # 0-1 are 0.9 arcsec apart and 1-2 are 0.6; 0-2 are 1.5 apart, but belong together through 1.
    assert sorted(map(tuple, position_pairs(ra, dec))) == [(0, 1), (1, 2)]
    assert len(position_pairs(None, None)) == 0


def test_a_file_is_scanned_once_and_again_when_it_is_another(tmp_path, layout, monkeypatch):
    """Blank images equal each other, which does not make their rows one galaxy."""
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path / "home"))
    layout["images"][[3, 4]] = 32
    layout["images"][17] = layout["images"][5]
    path = write_layout(tmp_path / "a.h5", layout)
    blank, digest = scan_images(open_galaxies(path), block=7)
    assert np.flatnonzero(blank).tolist() == [3, 4]
    assert digest[17] == digest[5]
    assert len(set(digest)) == 19
    scanned = []
    monkeypatch.setattr(splits, "scan_images", lambda galaxies: scanned.append(galaxies) or scan_images(galaxies))
    for times in (1, 1):
        np.testing.assert_equal(scan_once(open_galaxies(path)), (blank, digest))
        assert len(scanned) == times
    (kept,) = (tmp_path / "home" / "scans").iterdir()
    for damaged in (kept.read_bytes()[:50], b""):
        kept.write_bytes(damaged)
        np.testing.assert_equal(scan_once(open_galaxies(path)), (blank, digest))
    layout["images"][0] = 7
    write_layout(path, layout)
    for home in ("home", "a.h5"):  # in the second nothing can be kept
        monkeypatch.setenv("GALUTILS_DATA", str(tmp_path / home))
        assert np.flatnonzero(scan_once(open_galaxies(path))[0]).tolist() == [0, 3, 4]
    assert len(scanned) == 5


def test_split_is_stratified_complete_and_keeps_galaxies_whole():
    labels = np.repeat(np.arange(10), 40)
    blank, digest = distinct(400)
    blank[[0, 1]] = True
    digest[7] = digest[300]  # one galaxy with labels 0 and 7
    ra, dec = np.arange(400) / 2, np.zeros(400)
    ra[20], ra[390] = 199.9, 199.9001  # another, with labels 0 and 9
    tried = [split(labels, ra, dec, (blank, digest), test_size=0.2, seed=seed) for seed in range(20)]
    for one in tried:  # by chance they would be on two sides for a third of the seeds
        assert np.flatnonzero(one.part == "blank").tolist() == [0, 1]
        assert (one.part[7], one.part[20]) == (one.part[300], one.part[390])
        assert len(one.train) + len(one.test) == 398
        assert abs(np.bincount(labels[one.test]) - 8).max() <= 1
    again = split(labels, ra, dec, (blank, digest), test_size=0.2, seed=3)
    assert np.array_equal(tried[3].part, again.part)
    assert not np.array_equal(tried[3].part, tried[4].part)


def test_what_is_left_out_or_set_aside_comes_from_the_training_part():
    labels = np.repeat(np.arange(10), 50)
    whole, quarter, aside = split(labels), split(labels, train_fraction=0.25), split(labels, calibration_fraction=0.2)
    assert np.array_equal(whole.test, quarter.test)
    assert np.array_equal(whole.test, aside.test)
    assert len(quarter.train) == 100
    assert set(quarter.train) < set(whole.train)
    assert len(whole.calibration) == 0
    assert sorted([*aside.train, *aside.calibration]) == whole.train.tolist()
    assert np.bincount(labels[aside.calibration]).tolist() == [8] * 10  # a fifth of 40


@pytest.mark.parametrize("split_by", ["galaxies", "sky"])
def test_folds_test_every_galaxy_once(split_by):
    """Classes of 2 and of 3 galaxies too, and copies, one of them across a border of cells."""
    rng = np.random.default_rng(0)
    labels = np.r_[np.repeat(np.arange(6), 50), [6, 6, 7, 7, 7], np.repeat([8, 9], 40)]
    count = len(labels)
    ra, dec = rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, count)))
    ra[1], dec[1] = ra[0] + 1e-5, dec[0]
    blank, digest = distinct(count)
    blank[5], digest[8] = True, digest[7]
    folds = [split(labels, ra, dec, (blank, digest), fold=fold, split_by=split_by) for fold in range(5)]
    assert sorted(np.concatenate([one.test for one in folds])) == [row for row in range(count) if row != 5]
    cells = lonlat_to_healpix(ra * units.deg, dec * units.deg, 8)
    for one in folds:
        assert one.by == split_by
        assert len(one.test) + len(one.train) == count - 1
        assert not set(one.group[one.test]) & set(one.group[one.train])
        assert abs(np.bincount(labels[one.test], minlength=6)[:6] - 10).max() <= (1 if split_by == "galaxies" else 6)
        first = np.unique(one.group, return_index=True)[1]  # a galaxy's cell is that of its first row
        sides = [set(cells[np.intersect1d(rows, first)]) for rows in (one.test, one.train)]
        assert bool(sides[0] & sides[1]) == (split_by == "galaxies")
    if split_by == "galaxies":
        assert np.array_equal(folds[0].part, split(labels, ra, dec, (blank, digest)).part)


FEW = "memory.h5: has too few cells of the sky for 5 parts; leave split_by out."
NOWHERE = (
    "memory.h5: does not say where each galaxy lies (ra, dec), so it cannot be split by the sky; leave split_by out."
)


@pytest.mark.parametrize(
    ("ra", "given", "sentence"),
    [
        (None, {"split_by": "sky"}, NOWHERE),
        (np.r_[np.nan, np.zeros(49)], {"split_by": "sky"}, NOWHERE),
        (np.zeros(50), {"split_by": "sky"}, FEW),
        (None, {"split_by": "stars"}, "split_by is 'stars'; choose galaxies or sky."),
        (None, {"fold": 5}, "fold is 5; with a test_size of 0.2 it may be 0 to 4."),
        (None, {"fold": 3, "test_size": 0.3}, "fold is 3; with a test_size of 0.3 it may be 0 to 2."),
        (None, {"test_size": 1.5}, "test_size is 1.5; it must lie between 0 and 1."),
        (None, {"train_fraction": 0}, "train_fraction is 0; it must lie above 0 and at most be 1."),
        (None, {"calibration_fraction": 1.0}, "calibration_fraction is 1.0; it must be at least 0 and below 1."),
    ],
)
def test_splits_that_cannot_be_are_refused(ra, given, sentence):
    labels, dec = np.repeat(np.arange(10), 5), None if ra is None else np.zeros(50)
    assert refusal(split, labels, ra, dec, **given) == sentence


def test_split_survives_writing(tmp_path):
    written = split(np.repeat(np.arange(10), 5))
    written.write(tmp_path / "split.csv")
    back = read_split(tmp_path / "split.csv")
    assert np.array_equal(back.part, written.part)
    assert np.array_equal(back.group, written.group)


def test_a_class_with_one_galaxy_is_left_out():
    labels = np.repeat(np.arange(10), 5)[:-4]
    found = split(labels)
    assert np.flatnonzero(found.part == "too_few").tolist() == [45]
    assert set(labels[found.train]) == set(labels[found.test]) == set(range(9))
    assert refusal(split, labels[:6]) == (
        "memory.h5: has 1 class of two or more usable galaxies; "
        "give at least two such classes, so that there is something to tell apart."
    )
