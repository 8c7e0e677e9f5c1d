import numpy as np
import pytest
from fakes import train_run, write_layout

from galutils.data.galaxies import open_galaxies
from galutils.data.simulate.cutouts import simulate, write_simulated
from galutils.data.splits import split_rows
from galutils.predict.transfer import transfer
from galutils.study.collect import collect_runs
from galutils.training.settings import Settings


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Of one classifier, on simulated galaxies whose images span 67 arcsec."""
    folder = tmp_path_factory.mktemp("runs") / "home"
    write_simulated(folder / "sky.h5", 600, 32, seed=0)
    galaxies = open_galaxies(folder / "sky.h5")
    split, settings = (
        split_rows(galaxies, calibration_fraction=0.2),
        Settings(epochs=20, batch_size=32, image_size=32, augment=True, device="cpu"),
    )
    train_run(folder, galaxies, split, settings)
    return collect_runs(folder)


def test_matching_the_pixel_scale_finds_galaxies_in_a_wider_field(runs, tmp_path):
    """The other survey's images are as wide again: half of each side is sky that the network was not trained on."""
    home = runs["run"].iloc[0].galaxies()
    others = simulate(200, 32, seed=9)
    images = np.full((200, 64, 64, 3), np.median(others.images, axis=(0, 1, 2)), np.uint8)
    images[:, 16:48, 16:48] = others.images
    known = {"ans": others.ans, "pxscale": np.full(200, home.pxscale[0])}
    wide, same = (
        write_layout(tmp_path / f"{name}.h5", known | {"images": own}, home.classes)
        for name, own in (("wide", images), ("same", others.images))
    )
    found, plain = (transfer(runs, path).table.iloc[0] for path in (wide, same))
    assert found["accuracy"] == plain["accuracy"]
    assert found["low"] > 0.15
    assert found["accuracy"] - found["unmatched"] > 0.1
    assert plain["unmatched"] == plain["accuracy"]
    assert np.isfinite(found["ece_scaled"])
