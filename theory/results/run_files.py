"""The names of the files in the folder of a run, each once."""

__all__ = [
    "BEST",
    "CHECKPOINT",
    "CONFIG",
    "FLAGS",
    "HISTORY",
    "LAST",
    "MARGIN_REPORT",
    "MARGINS",
    "ORDER",
    "PORTRAITS",
    "RECORDS",
    "REPORT",
    "RESULT",
    "SHARDS",
    "SPLIT",
    "SWEEP",
    "VERDICT_LINES",
    "WEIGHTS",
]

CONFIG = "config.json"
"""Its settings and where it was started, written first."""
SPLIT = "split.json"
"""Which images are trained on, validated on and tested on."""
ORDER = "order.npz"
"""A checksum of each image in its place, of networks that are handed on: see `deep.data.order`."""
CHECKPOINT = "checkpoint.safetensors"
"""The state of the training after the last finished epoch; removed when the run is finished."""
WEIGHTS = "model.safetensors"
"""The weights whose errors are reported."""
BEST = "best.safetensors"
"""The weights of the epoch with the smallest validation error."""
LAST = "last.safetensors"
"""The weights of the last epoch, where they are not those reported."""
FLAGS = "flags.npz"
"""Whether each test sample is right without an attack and robust to each attack."""
SHARDS = "shards"
"""Folder of the parts of the evaluation that are done; removed when the run is finished."""
HISTORY = "history.jsonl"
"""A line an epoch."""
RECORDS = "records.jsonl"
"""The errors as records."""
RESULT = "result.json"
"""The errors, written last: with it the run is finished."""
REPORT = "report/evaluation.npz"
"""Whether each test sample is robust to each attack of deep.report."""
MARGIN_REPORT = "link.json"
"""Theory beside measurement, of deep.link: see `theory.results.margin_report`."""
MARGINS = "link.npz"
"""What deep.link measured of the network."""
SWEEP = "sweep.json"
"""The settings of a sweep of sim."""
VERDICT_LINES = "verdicts.jsonl"
"""The verdicts of a sweep, a line a setting."""
PORTRAITS = "portrait*.npz"
"""Names of the files of deep.portrait, which lie anywhere."""
