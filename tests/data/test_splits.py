import numpy as np
import pytest
from astropy import units
from astropy_healpix import lonlat_to_healpix
from fakes import refusal, write_layout

from galutils.data import splits
from galutils.data.classes import GALAXY10
from galutils.data.galaxies import DataError, Galaxies, open_galaxies
from galutils.data.splits import group_rows, position_pairs, read_split, scan_images, scan_once, split_rows


def galaxies_with(labels, ra=None, dec=None):
    return Galaxies(
        path="memory.h5", labels=np.asarray(labels), image_size=8, simulated=False, classes=GALAXY10, ra=ra, dec=dec
    )


def distinct(count):
    return np.zeros(count, bool), np.array([f"{row:04d}" for row in range(count)])


def test_groups_join_pairs_and_equal_pixels_transitively():
    digest = np.array(["a", "b", "c", "b", "d", "e"])
    group = group_rows(np.array([[0, 1], [4, 5]]), digest)
    assert group.tolist() == [0, 0, 1, 0, 2, 2]


def test_position_pairs_by_hand():
    arcsec = 1 / 3600
    ra = np.array([10.0, 10.0, 10.0, 200.0, np.nan, 359.9999])
    dec = np.array([0.0, 0.9 * arcsec, 1.5 * arcsec, 0.0, 0.0, 0.0])
    # 0-1 are 0.9 arcsec apart and 1-2 are 0.6; 0-2 are 1.5 apart, but belong together through 1.
    assert sorted(map(tuple, position_pairs(ra, dec))) == [(0, 1), (1, 2)]
    assert len(position_pairs(None, None)) == 0


def test_scan_finds_blank_and_identical_images(tmp_path, layout):
    """Blank images equal each other, which does not make their rows one galaxy."""
    layout["images"][[3, 4]] = 32
    layout["images"][17] = layout["images"][5]
    galaxies = open_galaxies(write_layout(tmp_path / "a.h5", layout))
    blank, digest = scan_images(galaxies, block=7)
    assert np.flatnonzero(blank).tolist() == [3, 4]
    assert digest[17] == digest[5]
    assert len(set(digest)) == 19


def test_a_file_is_scanned_once_and_again_when_it_is_another(tmp_path, layout, monkeypatch):
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path / "home"))
    path = write_layout(tmp_path / "a.h5", layout)
    first = scan_once(open_galaxies(path))
    scanned = []
    monkeypatch.setattr(splits, "scan_images", lambda galaxies: scanned.append(galaxies) or scan_images(galaxies))
    np.testing.assert_equal(scan_once(open_galaxies(path)), first)
    assert scanned == []
    (kept,) = (tmp_path / "home" / "scans").iterdir()
    for damaged in (kept.read_bytes()[:50], b""):
        kept.write_bytes(damaged)
        np.testing.assert_equal(scan_once(open_galaxies(path)), first)
    layout["images"][0] = 7
    blank, _ = scan_once(open_galaxies(write_layout(path, layout)))
    assert np.flatnonzero(blank).tolist() == [0]
    monkeypatch.setenv("GALUTILS_DATA", str(path))  # where nothing can be kept
    assert scan_once(open_galaxies(path))[0].tolist() == blank.tolist()
    assert len(scanned) == 4


def test_split_is_stratified_complete_and_keeps_galaxies_whole():
    labels = np.repeat(np.arange(10), 40)
    blank, digest = distinct(400)
    blank[[0, 1]] = True
    digest[7] = digest[300]  # one galaxy with labels 0 and 7
    ra, dec = np.arange(400) / 2, np.zeros(400)
    ra[20], ra[390] = 199.9, 199.9001  # another, with labels 0 and 9
    galaxies = galaxies_with(labels, ra, dec)
    split = split_rows(galaxies, test_size=0.2, seed=3, scan=(blank, digest))
    assert np.flatnonzero(split.part == "blank").tolist() == [0, 1]
    for seed in range(20):  # by chance they would be on two sides for a third of the seeds
        part = split_rows(galaxies, test_size=0.2, seed=seed, scan=(blank, digest)).part
        assert (part[7], part[20]) == (part[300], part[390])
    assert len(split.train) + len(split.test) == 398
    for label in range(10):
        assert abs(np.sum(labels[split.test] == label) - 8) <= 1
    again = split_rows(galaxies, test_size=0.2, seed=3, scan=(blank, digest))
    other = split_rows(galaxies, test_size=0.2, seed=4, scan=(blank, digest))
    assert np.array_equal(split.part, again.part)
    assert not np.array_equal(split.part, other.part)


def test_training_fraction_leaves_the_test_rows_alone():
    labels = np.repeat(np.arange(10), 50)
    whole = split_rows(galaxies_with(labels), scan=distinct(500))
    quarter = split_rows(galaxies_with(labels), scan=distinct(500), train_fraction=0.25)
    assert np.array_equal(whole.test, quarter.test)
    assert len(quarter.train) == 100
    assert set(quarter.train) < set(whole.train)


def test_galaxies_set_aside_to_calibrate_come_from_the_training_part():
    labels = np.repeat(np.arange(10), 50)
    whole = split_rows(galaxies_with(labels), scan=distinct(500))
    aside = split_rows(galaxies_with(labels), scan=distinct(500), calibration_fraction=0.2)
    assert len(whole.calibration) == 0
    assert np.array_equal(whole.test, aside.test)
    assert sorted([*aside.train, *aside.calibration]) == whole.train.tolist()
    assert np.bincount(labels[aside.calibration]).tolist() == [8] * 10  # a fifth of 40
    with pytest.raises(ValueError, match="calibration_fraction"):
        split_rows(galaxies_with(labels), scan=distinct(500), calibration_fraction=1.0)


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
    galaxies = galaxies_with(labels, ra, dec)
    splits = [split_rows(galaxies, fold=fold, split_by=split_by, scan=(blank, digest)) for fold in range(5)]
    assert sorted(np.concatenate([split.test for split in splits])) == [row for row in range(count) if row != 5]
    cells = lonlat_to_healpix(ra * units.deg, dec * units.deg, 8)
    for split in splits:
        assert split.by == split_by
        assert len(split.test) + len(split.train) == count - 1
        assert not set(split.group[split.test]) & set(split.group[split.train])
        assert abs(np.bincount(labels[split.test], minlength=6)[:6] - 10).max() <= (1 if split_by == "galaxies" else 6)
        first = np.unique(split.group, return_index=True)[1]  # a galaxy's cell is that of its first row
        sides = [set(cells[np.intersect1d(rows, first)]) for rows in (split.test, split.train)]
        assert bool(sides[0] & sides[1]) == (split_by == "galaxies")
    if split_by == "galaxies":
        assert np.array_equal(splits[0].part, split_rows(galaxies, scan=(blank, digest)).part)


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
    ],
)
def test_splits_that_cannot_be_are_refused(ra, given, sentence):
    galaxies = galaxies_with(np.repeat(np.arange(10), 5), ra, None if ra is None else np.zeros(50))
    assert refusal(split_rows, galaxies, scan=distinct(50), **given) == sentence


def test_split_survives_writing(tmp_path):
    split = split_rows(galaxies_with(np.repeat(np.arange(10), 5)), scan=distinct(50))
    split.write(tmp_path / "split.csv")
    back = read_split(tmp_path / "split.csv")
    assert np.array_equal(back.part, split.part)
    assert np.array_equal(back.group, split.group)


def test_a_class_with_one_galaxy_is_left_out():
    labels = np.repeat(np.arange(10), 5)[:-4]
    split = split_rows(galaxies_with(labels), scan=distinct(46))
    assert np.flatnonzero(split.part == "too_few").tolist() == [45]
    assert set(labels[split.train]) == set(labels[split.test]) == set(range(9))
    with pytest.raises(
        DataError,
        match=r"^memory.h5: has 1 class of two or more usable galaxies; "
        r"give at least two such classes, so that there is something to tell apart.$",
    ):
        split_rows(galaxies_with(labels[:6]), scan=distinct(6))
    with pytest.raises(ValueError, match="test_size"):
        split_rows(galaxies_with(labels), test_size=1.5, scan=distinct(46))
