"""Files of a published data set: found in a local folder, downloaded only when asked for, and read."""

import gzip
import hashlib
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from deep.data.formats import Arrays, Bytes, Source
from theory.common.cli import one_line, writable_folder
from theory.common.files import write_atomic
from theory.common.inputs import InputError

__all__ = ["Download", "Files", "Raw", "sha256"]


@dataclass(frozen=True)
class Raw:
    """What a data set is made of.

    Args:
        pool: images and labels to train and validate on.
        held_out: images and labels to test on; None where nobody published which.
        sha256: checksum of all of them.
        published: whether every file has the published checksum; None where one is not known.
    """

    pool: Arrays
    held_out: Arrays | None
    sha256: str
    published: bool | None


@dataclass(frozen=True)
class Download:
    """A file as it is published: a tar archive of data files, or one data file, perhaps compressed.

    Args:
        name: its name.
        md5: its published checksum.
        urls: where it is, the fastest first; a mirror is as good as the publisher, since the checksum
            decides.
    """

    name: str
    md5: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Files:
    """The files of a data set.

    Args:
        folder: folder below ``--data-dir`` where they are put and looked for first.
        train: names of the files of the training images.
        test: names of the files of the test images.
        parse: reader of one part, see `deep.data.formats`.
        image_bytes: bytes of an image.
        train_counts: training images of each class.
        test_counts: test images of each class.
        md5: checksum of the published content of each file, uncompressed, where it is known.
        downloads: what holds the files.
    """

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    parse: Callable[[Sequence[Source], int], Arrays]
    image_bytes: int
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    md5: Mapping[str, str]
    downloads: tuple[Download, ...]

    def read(self, data_dir: Path, *, download: bool) -> Raw:
        """Read all files, after downloading those that are missing if that is wanted.

        Raises:
            InputError: a file is missing, damaged, or not of this data set.
        """
        if download:
            self._download(data_dir)
        if not data_dir.is_dir():
            raise InputError(
                f"--data-dir {data_dir} is not a folder; it must hold {self.train[0]} and others"
            )
        folder = self._home(data_dir)
        parts, digests = [], {}
        for names, counts in ((self.train, self.train_counts), (self.test, self.test_counts)):
            most = sum(counts) * (self.image_bytes + 2) + 4096
            files = [_content(_there(folder, name), most) for name in names]
            digests |= {n: hashlib.md5(f[1]).hexdigest() for n, f in zip(names, files, strict=True)}
            part = self.parse(files, sum(counts))
            _check_counts(part[1], counts, f"{', '.join(names)} in {folder}")
            parts.append(part)
        unknown = set(digests) - set(self.md5)
        published = None if unknown else digests == dict(self.md5)
        return Raw(parts[0], parts[1], sha256((*parts[0], *parts[1])), published)

    def _home(self, data_dir: Path) -> Path:
        """Return the folder of the files: the one below ``data_dir``, unless they lie in it directly."""
        inner = data_dir / self.folder
        for folder in (inner, data_dir):
            if any(_there(folder, name).exists() for name in (*self.train, *self.test)):
                return folder
        return inner

    def _download(self, data_dir: Path) -> None:
        folder = self._home(data_dir)
        missing = {n for n in (*self.train, *self.test) if not _there(folder, n).exists()}
        for item in self.downloads:
            if item.name.endswith(".tar.gz") and missing:
                _unpack(_fetch(item, writable_folder(folder)), missing)
            elif item.name.removesuffix(".gz") in missing:
                _fetch(item, writable_folder(folder))


def sha256(arrays: Iterable[Bytes]) -> str:
    """Return the checksum of arrays one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _there(folder: Path, name: str) -> Path:
    """Return the path of a file, that of its compressed form where only that is there."""
    compressed = folder / f"{name}.gz"
    return compressed if compressed.exists() and not (folder / name).exists() else folder / name


def _content(path: Path, most: int) -> Source:
    """Return a file, uncompressed, without reading more than ``most`` bytes of it."""
    if not path.is_file():
        raise InputError(
            f"the data file {path} is missing; --download fetches it"
            if not path.exists()
            else f"the data file {path} is not a file"
        )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"the data file {path} is damaged or cannot be read: {one_line(str(error))}"
        ) from None
    if len(raw) > most:
        raise InputError(f"the data file {path} has more than the {most} bytes that it could need")
    return path, raw


def _check_counts(labels: Bytes, counts: tuple[int, ...], where: str) -> None:
    found = np.bincount(labels, minlength=len(counts))
    if len(found) > len(counts):
        raise InputError(f"{where}: a label must be from 0 to {len(counts) - 1}, got {labels.max()}")
    for label, (n, expected) in enumerate(zip(found, counts, strict=True)):
        if n != expected:
            raise InputError(
                f"{where}: damaged or of other data: class {label} must have {expected} images, got {n}"
            )


def _fetch(item: Download, folder: Path) -> Path:
    """Return a published file, which is downloaded from the first place that has it unharmed."""
    import pooch  # loaded only by those who download

    pooch.get_logger().setLevel("ERROR")
    failures = []
    for url in item.urls:
        place = f"{item.name} from {url.split('/')[2]}"
        bar = tqdm(total=1, unit="B", unit_scale=True, desc=place, file=sys.stderr)  # total is set by pooch
        loader = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16)
        try:
            return Path(pooch.retrieve(url, f"md5:{item.md5}", item.name, folder, downloader=loader))
        except (OSError, ValueError) as error:  # every error of requests is an OSError; ValueError: checksum
            failures.append(f"{url}: {one_line(str(error)):.150}")
        finally:
            bar.close()
    raise InputError(f"cannot download {item.name}; put it in {folder} yourself ({'; '.join(failures)})")


def _unpack(archive: Path, names: set[str]) -> None:
    """Write the regular files called ``names`` of a tar archive beside it, and nothing else."""
    wanted = set(names)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name in wanted and member.isreg() and (content := tar.extractfile(member)):
                    write_atomic(archive.parent / name, content.read())
                    wanted.remove(name)
                if not wanted:
                    return
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(f"the archive {archive} is damaged: {one_line(str(error))}") from None
    raise InputError(f"the archive {archive} has no {', '.join(sorted(wanted))}")
