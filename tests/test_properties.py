"""What must hold for any input, tried on many: the readers and the matching of clusters."""

import numpy as np
import pytest
from fakes import write_layout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.optimize import linear_sum_assignment

from galutils.clustering.null import in_proportion
from galutils.clustering.scores import count_pairs, match_table, one_hot, score_table
from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.errors import GalutilsError
from galutils.evaluation.metrics import roc_auc

FILES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

COLUMNS = npst.arrays(
    dtype=st.sampled_from([np.uint8, np.int64, np.float64, np.float32, np.bool_]),
    shape=npst.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=12),
)
IMAGES = npst.arrays(
    dtype=st.sampled_from([np.uint8, np.int16, np.float32]),
    shape=st.tuples(*(st.integers(0, 12), st.integers(6, 9), st.integers(6, 9), st.integers(1, 4))),
    elements=st.just(7),
)


def read_or_refuse(path) -> Galaxies | None:
    """The galaxies of a file whose first and last image can be read; None if it is refused in one sentence."""
    galaxies, refusal = None, ""
    try:
        galaxies = open_galaxies(path)
        galaxies.read_images([0, len(galaxies) - 1])
    except GalutilsError as error:
        galaxies, refusal = None, str(error)
    assert galaxies is not None or str(path) in refusal
    assert "\n" not in refusal
    return galaxies


@FILES
@given(images=IMAGES, ans=COLUMNS, ra=COLUMNS)
def test_any_file_is_read_or_refused_in_one_sentence(tmp_path, images, ans, ra):
    path = write_layout(tmp_path / "any.h5", {"images": images, "ans": ans, "ra": ra})
    galaxies = read_or_refuse(path)
    if galaxies is not None:
        assert len(galaxies) == len(images) > 0
        assert galaxies.read_images(range(len(images))).shape == images.shape


@FILES
@given(damage=st.binary(min_size=1, max_size=40), where=st.floats(0, 1))
def test_damaged_bytes_never_give_a_traceback(tmp_path, simulated_path, damage, where):
    whole = bytearray(simulated_path.read_bytes())
    start = int(where * (len(whole) - len(damage)))
    whole[start : start + len(damage)] = damage
    path = tmp_path / "damaged.h5"
    path.write_bytes(whole)
    read_or_refuse(path)


CLUSTERINGS = st.integers(12, 40).flatmap(
    lambda n: st.tuples(
        npst.arrays(np.int64, n, elements=st.integers(0, 4)), npst.arrays(np.int64, n, elements=st.integers(-1, 7))
    )
)


@given(CLUSTERINGS, st.booleans())
def test_matching_is_the_best_and_a_table_has_the_scores_of_its_rows(pair, many_to_one):
    labels, clusters = pair
    labels[:5] = range(5)
    table = count_pairs(labels, clusters, 5)
    counts = np.array([[np.sum((clusters == k) & (labels == c)) for c in range(5)] for k in range(8)])
    assert np.array_equal(table[:-1], counts[: len(table) - 1])
    match = match_table(table, many_to_one)
    used, predicted = match[match >= 0], match[clusters]
    assert many_to_one or len(set(used)) == len(used)
    right = counts.max(1) if many_to_one else counts[linear_sum_assignment(-counts)]
    assert np.sum(predicted == labels) == right.sum()
    assert score_table(table, match) == pytest.approx(
        (right.sum() / len(labels), roc_auc(labels, one_hot(predicted, 5)))
    )


@given(st.integers(1, 20_000), npst.arrays(float, st.integers(1, 12), elements=st.floats(0.01, 1)))
def test_proportions_are_kept_and_nothing_is_lost(total, counts):
    parts = in_proportion(total, counts)
    assert parts.sum() == total
    assert np.abs(parts - counts / counts.sum() * total).max() <= 1
