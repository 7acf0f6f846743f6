"""``python -m deep.promote RUN... --to DIR``: copy what figures and tables need of finished runs.

Each run becomes DIR/<id>/ with records.jsonl, history.jsonl, flags.npz (packed), and link.json and
report/evaluation.npz where it has them. Weights stay, unless a run is to be a network of the package:
--network NAME keeps all that `deep.load_run` reads, in DIR/NAME. The command in a record becomes the
shortest one that makes the run again from the root of the project, and no path of a machine is left.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deep.data import DATASETS
from deep.data.order import order_of
from deep.runs.command_line import words_of
from deep.runs.folder import is_finished, read_config, weights_sha256
from deep.runs.place import resumed, run_of
from deep.runs.presets import PRESETS
from deep.runs.settings import Settings
from deep.stages import STAGES
from theory.common.cli import Parser, run, writable_folder
from theory.common.fields import flag_of
from theory.common.files import write_atomic
from theory.common.inputs import InputError, parse_object, read_lines, read_text
from theory.common.owner import own_folder
from theory.results.flags import Evaluation
from theory.results.margin_report import MarginReport
from theory.results.records import read_records, to_jsonl
from theory.results.run_files import (
    CONFIG,
    FLAGS,
    HISTORY,
    MARGIN_REPORT,
    ORDER,
    RECORDS,
    REPORT,
    RESULT,
    SPLIT,
    WEIGHTS,
)

__all__ = ["command", "promoted"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,59}")
"""What a network of the package may be called."""
KEPT = ("preset", "method", "dataset", "seed", "threads")
"""Flags that a command names even where they are the default."""
NAMED = tuple({"preset": name} for name in PRESETS)
PATH = re.compile(r"(?:^|[\s=:'\"(])(?:/|~/|[A-Za-z]:\\)\w")
"""A path that only one machine has."""


def command(config: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the words of the shortest command that makes a run.

    Args:
        config: see `deep.runs.folder.read_config`.
        folder: the folder of the run.

    Raises:
        InputError: the settings make no sense, or are not those of the run's id.
    """
    settings, _ = resumed(config, folder, device="cpu")
    data = (
        [f"--data-dir={_data(settings.dataset, Path(config['data_dir']))}"] if config.get("data_dir") else []
    )
    if settings.stage:
        run, stage = f"runs/deep/{settings.stage['of']['run']}", {"stage": settings.stage["name"]}
        usual = dataclasses.asdict(STAGES[stage["stage"]].Params())
        params = {k: v for k, v in settings.stage["params"].items() if v != usual.get(k)}
        return ["python", "-m", "deep.repair", run, *words_of(stage | params), *data]
    settings = dataclasses.replace(settings, init=None, teachers=None)
    flags = settings.as_json()
    flags |= flags.pop("params")
    flags = min((_fewest(preset | flags, settings) for preset in ({}, *NAMED)), key=len)
    arguments = ["python", "-m", "deep.train", *words_of(flags)]
    others = {**config["settings"].get("teachers", {}), "init": config["settings"].get("init")}
    arguments += [f"{flag_of(name)}=runs/deep/{run['run']}" for name, run in others.items() if run]
    return arguments + data


def _fewest(flags: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return flags without those that are not needed to ask for these settings."""
    kept = dict(flags)
    for name in [name for name in flags if name not in KEPT]:
        fewer = {k: v for k, v in kept.items() if k != name}
        if _makes(fewer, settings):
            kept = fewer
    return kept


def _data(dataset: str, folder: Path) -> Path:
    """Return where the project has the files of a data set: below data/, or in a folder of theirs in it."""
    inner = DATASETS[dataset].files if dataset in DATASETS else None
    return Path("data") if inner and folder.name != inner.folder else Path("data", folder.name)


def _makes(flags: Mapping[str, Any], settings: Settings) -> bool:
    """Return whether flags ask for these settings."""
    try:
        return run_of(flags)[0].id == settings.id
    except InputError:
        return False


def promoted(folder: Path, *, network: bool = False) -> tuple[str, dict[str, bytes]]:
    """Return the id of a run, and its files by name as they are promoted.

    Args:
        folder: of the run.
        network: whether its network is kept too.

    Raises:
        InputError: the run is not finished, a file is missing or damaged, or holds a path of a machine.
    """
    config = read_config(folder)
    name = config["id"]
    if not is_finished(folder, name):
        raise InputError(f"{folder} is not finished: it has no {RESULT}")
    argv = command(config, folder)
    records = [
        dataclasses.replace(r, provenance={**r.provenance, "argv": argv})
        for r in read_records(folder / RECORDS)
    ]
    texts = {RECORDS: to_jsonl(records)}
    if not config["settings"].get("stage"):  # after a stage there is no history, it is that of the run before
        history = [
            parse_object(line, f"{folder / HISTORY}, line {n}") for n, line in read_lines(folder / HISTORY)
        ]
        texts[HISTORY] = "".join(json.dumps(line) + "\n" for line in history)
    if (folder / MARGIN_REPORT).exists():
        report = MarginReport.read(folder / MARGIN_REPORT)
        made = {**report.provenance, "argv": [*_portable(report.provenance.get("argv", []))]}
        texts[MARGIN_REPORT] = dataclasses.replace(report, provenance=made).to_json()
    if network:
        result = parse_object(read_text(folder / RESULT), str(folder / RESULT))
        parts = {
            CONFIG: {k: v for k, v in config.items() if k != "teachers"} | {"data_dir": None},
            RESULT: result,
        }
        made = {"provenance": {**config.get("provenance", {}), "argv": argv}}
        texts |= {file: json.dumps({**part, **made}) + "\n" for file, part in parts.items()}
    for file, text in texts.items():
        for word in _texts([json.loads(line) for line in text.splitlines()]):
            if PATH.search(word):
                raise InputError(f"{folder / file} names a path of this machine: {word!r:.100}")
    files = {file: text.encode() for file, text in texts.items()}
    if network:
        weights_sha256(folder)
        files |= {file: (folder / file).read_bytes() for file in (SPLIT, WEIGHTS)} | _order(config)
    files[FLAGS] = Evaluation.read(folder / FLAGS).to_bytes()
    if (folder / REPORT).exists():
        files[REPORT] = Evaluation.read(folder / REPORT).to_bytes()
    return name, files


def _order(config: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the file with the order of the images, where others may have them in another one."""
    name, folder = config["settings"]["dataset"], config.get("data_dir")
    if name not in DATASETS or folder is None:
        return {}
    raw = DATASETS[name].read(name, Path(folder))
    return {} if raw.held_out is None else {ORDER: order_of(raw)}


def _portable(argv: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command line, with runs and data where they are by default."""
    before = ""
    for word in argv:
        if (Path(word) / CONFIG).is_file():
            yield f"runs/deep/{read_config(Path(word))['id']}"
        else:
            yield f"data/{Path(word).name}" if before == "--data-dir" else word
        before = word


def _texts(tree: Any) -> Iterator[str]:
    """Yield every text in a tree of JSON, keys too."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        yield from _texts([*tree, *tree.values()])
    elif isinstance(tree, list):
        for branch in tree:
            yield from _texts(branch)


def _runs(folder: Path) -> list[Path]:
    """Return a folder if it is that of a run, else those of the runs in it, or itself if there are none."""
    inner = sorted({path.parent for name in (CONFIG, RESULT, RECORDS) for path in folder.glob(f"*/{name}")})
    return inner if inner and not (folder / CONFIG).exists() else [folder]


def main(argv: Sequence[str] | None = None) -> int:
    """Promote runs: all of them or, if one is refused, none."""
    parser = Parser(prog="deep.promote", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or of runs")
    parser.add_argument("--to", type=Path, default=Path("paper_figs/records"), help="folder of the copies")
    parser.add_argument("--network", metavar="NAME", help="keep the network of the RUN too, under this name")
    args = parser.parse_args(argv)
    if args.network and not NAME.fullmatch(args.network):
        raise InputError(f"--network must be letters, digits, . and -, got {args.network!r:.60}")
    chosen: dict[str, dict[str, bytes]] = {}
    for folder in (inner for outer in args.runs for inner in _runs(outer)):
        run_id, files = promoted(folder, network=args.network is not None)
        name = args.network or run_id
        if name in chosen:
            raise InputError(
                f"{folder} would become {name}, the name of another RUN given; remove one of them"
            )
        _refuse_there(args.to, name)
        chosen[name] = files
    with own_folder(args.to):
        _write(args.to, chosen)
    return 0


def _refuse_there(to: Path, name: str) -> None:
    if (to / name).exists():
        raise InputError(f"{to / name} is there already; remove it, or do not promote that run again")


def _write(to: Path, chosen: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write promoted runs, and print what is written."""
    for name in chosen:
        _refuse_there(to, name)
    for name, files in chosen.items():
        for file, content in files.items():
            path = to / name / file
            writable_folder(path.parent)
            write_atomic(path, content)
        print(f"{to / name}: {sum(map(len, files.values())) / 1000:.0f} kB, {', '.join(sorted(files))}")


if __name__ == "__main__":
    run(main)
