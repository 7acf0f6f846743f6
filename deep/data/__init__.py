"""Data sets as uint8 tensors on the device, with seeded stratified training, validation and test splits."""

from deep.data.specs import DATASETS, DataSpec
from deep.data.splits import Dataset, Split, load, restore

__all__ = ["DATASETS", "DataSpec", "Dataset", "Split", "load", "restore"]
