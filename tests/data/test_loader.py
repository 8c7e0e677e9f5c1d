import torch

from galutils.data.loader import COUNT, random_symmetries, symmetry


def test_the_eight_are_different_and_keep_every_pixel():
    image = torch.arange(9).view(1, 3, 3)
    seen = {tuple(symmetry(image, number).flatten().tolist()) for number in range(COUNT)}
    assert len(seen) == 8
    assert all(sorted(pixels) == list(range(9)) for pixels in seen)


def test_turn_and_flip_by_hand():
    image = torch.tensor([[0, 1], [2, 3]])
    assert symmetry(image, 0).tolist() == [[0, 1], [2, 3]]
    assert symmetry(image, 1).tolist() == [[1, 3], [0, 2]]  # a quarter turn to the left
    assert symmetry(image, 4).tolist() == [[1, 0], [3, 2]]
    assert symmetry(image, 5).tolist() == [[0, 2], [1, 3]]


def test_each_image_gets_one_of_its_own_and_all_equally_often():
    torch.manual_seed(0)
    image = torch.arange(4, dtype=torch.uint8).view(1, 1, 2, 2).expand(8000, 3, 2, 2)
    augmented = random_symmetries(image)
    assert augmented.dtype == torch.uint8
    assert (augmented[:, 0] == augmented[:, 2]).all()  # the channels of an image stay together
    known = [symmetry(image[0, 0], number) for number in range(COUNT)]
    counts = [int((augmented[:, 0] == one).all(-1).all(-1).sum()) for one in known]
    assert sum(counts) == 8000
    assert min(counts) > 880  # four standard deviations below 1000
    again = random_symmetries(image)
    assert not torch.equal(again, augmented)
    torch.manual_seed(0)
    assert torch.equal(random_symmetries(image), augmented)
