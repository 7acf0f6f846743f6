"""``python -m deep.repair RUN...``: make a fairer network of that of a finished run, without training it.

The stage (class offsets unless --stage says another) looks at the validation split alone. The new network is
attacked again in full on the test split, and left in a folder like that of a run, so that ``deep.report``,
``deep.compare`` and all others treat it as a method whose base is the run. A repair that was interrupted
goes on by the same command.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from deep.attacks.evaluate import evaluate
from deep.runs.folder import claim, is_finished, named_data, origin
from deep.runs.outcome import certified_error, write_results
from deep.runs.reload import Run, code_of, load_run
from deep.runs.settings import Settings
from deep.runs.shipped import working_copy
from deep.stages import STAGES, any_network
from deep.stages.base import Staged
from deep.training.seeds import stream
from theory.common.cli import Parser, call_as_function, caution, one_of, run
from theory.common.fields import add_fields, built, flag_of
from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.results.flags import Evaluation, paired_table
from theory.results.records import provenance
from theory.results.run_files import CONFIG, ORDER, SHARDS, SPLIT, WEIGHTS

__all__: list[str] = []


def settings_of(base: Run, folder: Path, stage: str, params: object) -> Settings:
    """Return the settings of the repaired run: those of the run, and the stage."""
    of, values = origin(folder, "RUN"), dataclasses.asdict(params)  # type: ignore[call-overload]
    for name in (name for name in STAGES[stage].folders if values[name]):
        other = origin(Path(values[name]), flag_of(name))
        values[name] = other["recipe"]
        of |= {f"{name}_run": other["run"], f"{name}_weights": other["weights"]}
    return dataclasses.replace(base.settings, stage={"name": stage, "params": values, "of": of})


def repair_run(
    base: Run, settings: Settings, out: Path, params: object, data_dir: Path | None = None
) -> None:
    """Apply the stage, attack the new network in full, and leave the folder of a run.

    Args:
        base: the run that is repaired.
        settings: see `settings_of`.
        out: folder of the new run, which this process owns.
        params: of the stage.
        data_dir: folder of the data files.

    Raises:
        InputError: the stage cannot be applied.
    """
    started, data = time.perf_counter(), base.data
    config = {"id": settings.id, "settings": settings.as_json(), **named_data(data.sha256, data.to_json())}
    config |= {"data_dir": data_dir and str(data_dir.resolve()), "device": data.test.labels.device.type}
    config |= code_of(settings)
    config["provenance"] = provenance(torch=torch.__version__)
    write_atomic(out / CONFIG, json.dumps(config, indent=1) + "\n")
    write_atomic(out / SPLIT, data.to_json())
    assert settings.stage is not None
    stage = STAGES[settings.stage["name"]](params)
    shape = "{l_bar}{bar}| {remaining}"
    with tqdm(total=100, desc="validation", leave=False, bar_format=shape) as bar:
        staged = stage.apply(base, out / SHARDS, lambda part: bar.update(int(100 * part) - bar.n))
    flags = evaluate(
        staged.model, data.test, *base.attacks, seed=stream(settings.seed, "test"), shards=out / SHARDS
    )
    source = provenance(
        torch=torch.__version__,
        seconds=round(time.perf_counter() - started, 1),
        data_sha256=data.sha256,
        data_published=data.published,
        init=settings.init,
    )
    details = {"warnings": list(base.warnings), "state": dict(staged.state)}
    if proven := certified_error(staged.model, data.test, settings.attack.eps, flags, data.classes):
        details["certified_error"] = proven
    weights = {
        k: v.to(staged.kept_as) if staged.kept_as and v.is_floating_point() else v
        for k, v in staged.model.state_dict().items()
    }
    write_results(settings, out, data, flags, {WEIGHTS: weights}, details, source)
    _show(base, staged, flags)


def _show(base: Run, staged: Staged, flags: Evaluation) -> None:
    """Print what the choice rests on, and before and after, class by class."""
    before_after = paired_table(("before", "after"), (base.evaluation, flags), base.data.classes)
    print(staged.table.text(), before_after.text(), sep="\n\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Repair the networks of runs."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--stage", default="offsets")
    name = first.parse_known_args(argv)[0].stage
    if name not in STAGES:
        raise InputError(f"--stage must be one of {', '.join(STAGES)}, got {name!r:.60}")
    parser = Parser(prog="deep.repair", description=__doc__)
    add = parser.add_argument
    add("run", type=working_copy, nargs="+", metavar="RUN", help="folder of a finished run")
    add("--stage", type=one_of([*STAGES]), default="offsets", help=f"one of {', '.join(STAGES)}")
    add("--data-dir", type=Path, help="folder of the data files; that of the run if None")
    add("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    add("--out", type=Path, help="folder of the new run, of one RUN; RUN-STAGE if None")
    kind = STAGES[name].Params
    add_fields(parser.add_argument_group(f"settings of {name}"), kind)
    args = parser.parse_args(argv)
    if args.out is not None and len(args.run) > 1:
        raise InputError(f"--out is for one RUN, got {len(args.run)}")
    params = built(kind, {f.name: getattr(args, f.name) for f in dataclasses.fields(kind)})
    torch.use_deterministic_algorithms(True, warn_only=True)
    for folder in args.run:
        out = args.out or folder.with_name(f"{folder.resolve().name}-{name}")
        base = load_run(folder, data_dir=args.data_dir, device=args.device)
        before = base.settings.stage and base.settings.stage["name"]
        if before and (before != "half" or name == "half"):
            raise InputError(f"{folder} is a repaired run already; repair the run that it was made of")
        for warning in base.warnings:
            caution(warning)
        torch.set_num_threads(base.settings.threads)
        settings = settings_of(base, folder, name, params)
        if out.is_dir() and is_finished(out, settings.id):
            print(f"run: {out} is finished; delete the folder to make it again")
            continue
        _repair_into(out, folder, base, settings, params, args.data_dir)
    return 0


def _repair_into(
    out: Path, folder: Path, base: Run, settings: Settings, params: object, data_dir: Path | None
) -> None:
    """Repair the run of a folder, with the order of its images where it has one."""
    with claim(out, settings.id):
        if (folder / ORDER).exists():
            write_atomic(out / ORDER, (folder / ORDER).read_bytes())
        repair_run(base, settings, out, params, data_dir)
    print(f"run: {out}")


call_as_function(__name__, any_network.repair)

if __name__ == "__main__":
    run(main)
