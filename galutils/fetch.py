"""Download of the real data, with its checksum. pooch does the transfer."""

from pathlib import Path

from galutils.galaxy10 import DataError

GALAXY10_URL = "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5"
GALAXY10_SHA256 = "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571"


def fetch_galaxy10(folder: Path, url: str = GALAXY10_URL, sha256: str = GALAXY10_SHA256) -> Path:
    """Path of ``Galaxy10_DECals.h5`` (2.7 GB) in ``folder``; downloaded and checked if it is not there.

    The file stands under its name only when its checksum is right.

    Raises:
        DataError: the download failed, or what came has another checksum.
    """
    path = folder / "Galaxy10_DECals.h5"
    if path.exists():
        return path
    import pooch
    import requests

    print(f"Downloading {url} (2.7 GB) to {path}", flush=True)
    try:
        downloader = pooch.HTTPDownloader(progressbar=False, timeout=60)
        pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=folder, downloader=downloader)
    except (requests.RequestException, OSError, ValueError) as error:
        raise DataError(
            f"{url} could not be downloaded ({str(error)[:160]}); "
            f"bring the file to {path} yourself, or name your copy with DATA=/path/to/file.h5."
        ) from error
    return path
