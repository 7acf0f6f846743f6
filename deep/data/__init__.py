"""Data sets as uint8 tensors on the device, with seeded stratified training, validation and test splits."""

from deep.data.specs import DATASETS, DataSpec, spec_of
from deep.data.splits import Dataset, load, restore
from deep.data.tensors import Split

__all__ = ["DATASETS", "DataSpec", "Dataset", "Split", "load", "restore", "spec_of"]
