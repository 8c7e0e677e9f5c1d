"""The notebook that people write: the other side of the comparison.

An HDF5 dataset that opens the file for each item, PIL and ToTensor for each image, a DataLoader with two
workers, float32, PyTorch's default layout, and the full network in every epoch, frozen or not.
"""

import h5py
import torch
from PIL import Image
from timing import Measured, stopwatch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from galutils.data.splits import Split
from galutils.models import cnn
from galutils.models.cnn import GALAXY_MEAN, GALAXY_STD
from galutils.training.settings import Settings

WORKERS = 2


class GalaxyDataset(Dataset):
    """Images and labels of some rows of an HDF5 file."""

    def __init__(self, path, rows, transform):
        self.path, self.rows, self.transform = path, rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int):
        with h5py.File(self.path, "r") as file:
            image, label = file["images"][self.rows[index]], int(file["ans"][self.rows[index]])
        return self.transform(Image.fromarray(image)), label


def loader(path, rows, batch_size: int, shuffle: bool = False) -> DataLoader:
    """A DataLoader over some rows, normalised."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(GALAXY_MEAN, GALAXY_STD)])
    dataset = GalaxyDataset(path, rows, transform)
    return DataLoader(dataset, batch_size=batch_size, shuffle=shuffle, num_workers=WORKERS, drop_last=shuffle)


def usual_training(recipe: dict, path, split: Split, settings: Settings) -> Measured:
    """Train and test after each epoch; ``epoch``: seconds of one, testing included, and ``images_per_second``.

    The network is the study's own (``recipe`` as for :func:`galutils.models.cnn.build`) without its
    normalisation, which here is the data set's work.
    """
    network, device = cnn.build(**recipe), settings.device
    model = nn.Sequential(network.frozen[1:], network.trained).to(device, memory_format=torch.contiguous_format)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=settings.learning_rate)
    criterion = nn.CrossEntropyLoss()
    train_loader = loader(path, split.train, settings.batch_size, shuffle=True)
    test_loader = loader(path, split.test, settings.batch_size)
    training = 0.0
    with stopwatch(device) as elapsed:
        for epoch in range(settings.epochs):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(epoch)
            began = elapsed()
            model.train()
            running_loss, correct, total = 0.0, 0, 0
            for images, labels in train_loader:
                images, labels = images.to(device), labels.to(device)
                optimizer.zero_grad()
                outputs = model(images)
                loss = criterion(outputs, labels)
                loss.backward()
                optimizer.step()
                running_loss += loss.item()
                correct += (outputs.argmax(1) == labels).sum().item()
                total += len(labels)
            training += elapsed() - began
            model.eval()
            test_correct = 0
            with torch.no_grad():
                for images, labels in test_loader:
                    outputs = model(images.to(device))
                    test_correct += (outputs.argmax(1).cpu() == labels).sum().item()
        seconds = elapsed()
    return {
        "setup": 0.0,
        "epoch": seconds / settings.epochs,
        "images_per_second": total * settings.epochs / training,
    }
