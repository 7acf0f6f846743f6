"""All that figures are made of: what is found below one folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_figs.leanings import Leanings, read_leanings
from theory.record import Record, read_records

__all__ = ["Archive", "read_archive"]


@dataclass(frozen=True)
class Archive:
    """What was found.

    Args:
        records: of every run.
        runs: folders of trained networks.
        leanings: weights of linear classifiers on real images.
    """

    records: tuple[Record, ...]
    runs: tuple[Any, ...] = ()
    leanings: tuple[Leanings, ...] = ()


def read_archive(folder: Path) -> Archive:
    """Read everything below a folder.

    Raises:
        InputError: a file is damaged, or there are no records.
    """
    return Archive(records=tuple(read_records(folder)), leanings=tuple(read_leanings(folder)))
