import h5py
import numpy as np
import pytest
from fakes import write_layout

from galutils.data.galaxies import DataError, open_galaxies


@pytest.mark.parametrize("missing", [(), ("ra", "dec")])
def test_opens_with_and_without_coordinates(tmp_path, layout, missing):
    galaxies = open_galaxies(write_layout(tmp_path / "a.h5", layout | dict.fromkeys(missing)))
    assert len(galaxies) == 20
    assert galaxies.image_size == 16
    assert not galaxies.simulated
    assert (galaxies.ra is None) == ("ra" in missing)
    assert galaxies.redshift is None


def test_votes_come_along_where_volunteers_gave_some(tmp_path, layout):
    votes = np.tile([0.5, 0.5, *[0.0] * 8], (20, 1))
    votes[3] = np.nan
    galaxies = open_galaxies(write_layout(tmp_path / "a.h5", layout | {"votes": votes}))
    np.testing.assert_array_equal(galaxies.votes, votes.astype(np.float32))
    assert open_galaxies(write_layout(tmp_path / "b.h5", layout)).votes is None


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
    with pytest.raises(DataError, match=r"^\S+a\.h5: 'images' is damaged \(.+\); get the file again\.$"):
        galaxies.read_images([2, 3])


def test_without_labels_only_where_none_are_asked_for(tmp_path, layout):
    path = write_layout(tmp_path / "a.h5", layout | {"ans": None})
    assert open_galaxies(path, labelled=False).labels.tolist() == [-1] * 20
