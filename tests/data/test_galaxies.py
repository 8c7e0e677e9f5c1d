import h5py
import numpy as np
from fakes import assert_said, refusal, write_layout

from galutils.data.galaxies import open_galaxies


def test_columns_come_along_where_they_are(tmp_path, layout):
    votes = np.tile([0.5, 0.5, *[0.0] * 8], (20, 1))
    votes[3] = np.nan
    full = open_galaxies(write_layout(tmp_path / "a.h5", layout | {"votes": votes}))
    assert (len(full), full.image_size, full.simulated, full.redshift) == (20, 16, False, None)
    np.testing.assert_array_equal(full.votes, votes.astype(np.float32))
    np.testing.assert_array_equal(full.ra, layout["ra"])
    bare = open_galaxies(write_layout(tmp_path / "b.h5", layout | dict.fromkeys(["ra", "dec"])))
    assert (bare.ra, bare.dec, bare.votes) == (None, None, None)
    blind = open_galaxies(write_layout(tmp_path / "c.h5", layout | {"ans": None}), labelled=False)
    assert blind.labels.tolist() == [-1] * 20


def test_reads_rows_in_the_order_asked_for_with_repetitions(tmp_path, layout):
    galaxies = open_galaxies(write_layout(tmp_path / "a.h5", layout))
    for rows in ([19, 0, 0, 7], [3, 4, 5], []):
        np.testing.assert_array_equal(galaxies.read_images(rows), layout["images"][rows])


def test_halving_the_size_averages_and_cropping_keeps_the_centre(tmp_path, layout):
    layout["images"][:] = 0
    layout["images"][:, 4:12, 4:12] = 200
    galaxies = open_galaxies(write_layout(tmp_path / "a.h5", layout))
    np.testing.assert_array_equal(galaxies.read_images([0], crop=0.5, size=8), np.full((1, 8, 8, 3), 200))
    small = galaxies.read_images([0], size=8)
    assert small[0, 4, 4, 0] == 200
    assert small[0, 0, 0, 0] == 0
    assert abs(small.mean() - 50) < 1  # a quarter of the frame has 200


def test_damaged_images_are_told_of_when_they_are_read(tmp_path, layout):
    """A file's own chunks are compressed, so that overwritten ones cannot be unpacked."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=layout["images"], chunks=(1, 16, 16, 3), compression="gzip")
        file["ans"] = layout["ans"]
        chunk = file["images"].id.get_chunk_info(3)
    galaxies = open_galaxies(tmp_path / "a.h5")
    with open(tmp_path / "a.h5", "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    np.testing.assert_array_equal(galaxies.read_images([2]), layout["images"][[2]])
    said = refusal(galaxies.read_images, [2, 3])
    assert_said(said, "{path}: 'images' is damaged (…); get the file again.", galaxies.path)
