"""Images on their way to the device: kept there whole where they fit, streamed from the file where not.

Both ways give the same batches in the same order, so the choice changes time and memory but no number. Augmentation
is here too: a galaxy has no up and no side from which it has to be seen, and quarter turns and flips blend no pixels.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from galutils.data.galaxies import Galaxies
from galutils.files import WriteError, atomic_path, code_digest, data_home
from galutils.memory import available_memory

#: Share of the free memory that resident images or features may take, and of the free disk that decoded images may.
MEMORY_SHARE = 0.5

#: Gives images (n, H, W, 3) uint8 of (n,) row numbers, in their order.
Reader = Callable[[np.ndarray], np.ndarray]


def decode_once(galaxies: Galaxies, size: int, crop: float, wanted: int) -> Reader | None:
    """All images at that size, (size, size, 3) uint8 each, in a file in the folder of data files; reads its rows.

    To decompress and resize an image takes longer than to train a small network on it, so it is done once for all
    runs and epochs; size and crop as in ``Galaxies.read_images``. None where the disk has no room for it, or where so
    few are ``wanted`` that decoding them all would not pay.
    """
    key = f"{galaxies.sha256} {size} {crop} {code_digest('data/galaxies.py')}"
    path = data_home() / "decoded" / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.npy"
    shape = (len(galaxies), size, size, 3)
    try:
        return row_reader(path)
    except (OSError, EOFError, ValueError):  # not there, or damaged
        if 2 * wanted < len(galaxies):
            return None
    with suppress(WriteError):  # a folder that cannot be written to costs time alone
        with atomic_path(path) as partial:
            if np.prod(shape) > MEMORY_SHARE * shutil.disk_usage(path.parent).free:
                return None
            whole = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
            for start in range(0, len(galaxies), 256):
                rows = np.arange(start, min(start + 256, len(galaxies)))
                whole[rows] = galaxies.read_images(rows, size, crop)
            whole.flush()
        return row_reader(path)
    return None


def row_reader(path: Path) -> Reader:
    """Reads rows of a NumPy file of uint8, which is not mapped: what is seen of a map counts as this process's memory.

    OSError, EOFError, ValueError: there is no such file, or it is damaged.
    """
    whole = np.load(path, mmap_mode="r")  # its header, and that its rows are there
    start, shape = whole.offset, whole.shape[1:]

    def read(rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *shape), np.uint8)
        with open(path, "rb", buffering=0) as file:
            for row, image in zip(rows.tolist(), images, strict=True):
                file.seek(start + row * image.nbytes)
                file.readinto(image)
        return images

    return read


class Resident:
    """Images or feature maps (n, H, W, C), or features (n, D), held on the device, for the (n,) row numbers ``rows``.

    Channels are last, so that a batch is a channels-last NCHW tensor without a copy.
    """

    def __init__(self, data: torch.Tensor, rows: np.ndarray):
        self.data = data
        self.index = np.full(rows.max() + 1, -1)
        self.index[rows] = np.arange(len(rows))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[torch.Tensor]:
        """For each array of row numbers, yield its (B, C, H, W) or (B, D) tensor."""
        # All indices go to the device at once: a copy for each batch would keep a GPU waiting for the host.
        index = torch.from_numpy(self.index[np.concatenate(batches)]).to(self.data.device)
        for chosen in index.split([len(rows) for rows in batches]):
            # Several times as fast as data[chosen]; without a name here, by which the batch would live on.
            yield self.data.index_select(0, chosen).movedim(-1, 1)


class Streamed:
    """Images read from the file, ``read_ahead`` at once, while the device works on as many before."""

    def __init__(self, read: Reader, device: torch.device, read_ahead: int = 64):
        self.read, self.device, self.read_ahead = read, device, read_ahead

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[torch.Tensor]:
        """For each array of row numbers, yield its (B, 3, H, W) uint8 tensor."""
        blocks = [[]]
        for rows in batches:
            if blocks[-1] and sum(map(len, blocks[-1])) + len(rows) > self.read_ahead:
                blocks.append([])
            blocks[-1].append(rows)
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = reader.submit(self._read, blocks[0])
            for following in [*blocks[1:], []]:
                block, ahead = ahead.result(), reader.submit(self._read, following)
                for images in block:
                    yield torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)

    def _read(self, block: list[np.ndarray]) -> list[np.ndarray]:
        if not block:
            return []
        images = self.read(np.concatenate(block))
        return np.split(images, np.cumsum([len(rows) for rows in block])[:-1])


def free_memory(device: torch.device) -> int:
    """Bytes free on the device (of the machine's memory, where the device has none of its own)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()


def load_images(
    galaxies: Galaxies,
    rows: np.ndarray,
    size: int,
    device: torch.device,
    crop: float = 1.0,
    resident: bool | None = None,
    once: bool = False,
) -> Resident | Streamed:
    """Make the (n,) rows that will be asked for ready for the device; size and crop as in ``Galaxies.read_images``.

    Whether they are all held there (``resident``) is decided by its free memory if None. ``once``: they are asked for
    once and never again, so that nothing is kept on disk.
    """
    decoded = None if once else decode_once(galaxies, size, crop, len(rows))
    read: Reader = decoded or (lambda rows: galaxies.read_images(rows, size, crop))
    if resident is None:
        resident = len(rows) * size * size * 3 <= MEMORY_SHARE * free_memory(device)
    if not resident:
        return Streamed(read, device)
    return Resident(torch.from_numpy(read(rows)).to(device), rows)


def read_batch(galaxies: Galaxies, rows: Sequence[int], size: int | None = None, crop: float = 1.0) -> torch.Tensor:
    """The given rows as a network takes them: (n, 3, size, size) uint8 on the CPU; the file's own size if None."""
    return torch.from_numpy(galaxies.read_images(rows, size, crop)).permute(0, 3, 1, 2)


#: How many symmetries there are: four quarter turns, each with and without a flip.
COUNT = 8


def symmetry(images: torch.Tensor, number: int) -> torch.Tensor:
    """Square images (..., H, H) turned by ``number % 4`` quarters; flipped left to right before that from 4 on."""
    return (images.flip(-1) if number >= 4 else images).rot90(number % 4, (-2, -1))


def random_symmetries(images: torch.Tensor) -> torch.Tensor:
    """Each of the images (N, C, H, H) under a symmetry of its own, drawn by torch's generator on the CPU."""
    drawn = torch.randint(COUNT, (len(images),))
    augmented = torch.empty_like(images)
    for number in drawn.unique().tolist():
        chosen = (drawn == number).nonzero().squeeze(1).to(images.device)
        augmented[chosen] = symmetry(images[chosen], number)
    return augmented
