import torch

from galutils.data.loader import COUNT, random_symmetries, symmetry


def test_turn_and_flip_by_hand():
    """The eight are different and keep every pixel."""
    image = torch.tensor([[0, 1], [2, 3]])
    seen = [symmetry(image, number).flatten().tolist() for number in range(COUNT)]
    assert seen[:2] + seen[4:6] == [[0, 1, 2, 3], [1, 3, 0, 2], [1, 0, 3, 2], [0, 2, 1, 3]]  # turned to the left
    assert len(set(map(tuple, seen))) == 8
    assert all(sorted(pixels) == [0, 1, 2, 3] for pixels in seen)


def test_each_image_gets_one_of_its_own_and_all_equally_often():
    torch.manual_seed(0)
    image = torch.arange(4, dtype=torch.uint8).view(1, 1, 2, 2).expand(8000, 3, 2, 2)
    augmented = random_symmetries(image)
    assert augmented.dtype == torch.uint8
    assert (augmented[:, 0] == augmented[:, 2]).all()  # the channels of an image stay together
    _, counts = augmented[:, 0].flatten(1).unique(dim=0, return_counts=True)
    assert len(counts) == COUNT
    assert counts.min() > 880  # four standard deviations below 1000
    assert not torch.equal(random_symmetries(image), augmented)
    torch.manual_seed(0)
    assert torch.equal(random_symmetries(image), augmented)
