"""``python -m deep.audit --model M --data D --eps 8/255 --out DIR``: how robust is each class of my model?

The model is a function ``package.module:function`` that returns it, with --weights in safetensors or of a
state_dict; or a file of torch.export (.pt2) or ONNX (.onnx), or coefficients of a linear classifier (.npz:
coef and intercept, and mean and scale of a scaler). The data are a folder of images by class, a npz file of
x and y, or one of the built-in sets. DIR gets evaluation.npz, report.json, report.csv, report.md,
report.tex, and report.html, one page for a person. An audit that was interrupted goes on where it stopped.

In Python the same is ``deep.audit(model, x, y, eps="8/255")``: this module is callable, see
`deep.audits.any_model.audit`.
"""

import argparse
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from tqdm import tqdm

from deep.attacks.ball import Norm
from deep.audits.affine import Linear
from deep.audits.any_model import audit
from deep.audits.model_files import load_model, load_samples
from deep.audits.threats import ATTACKS
from deep.runs.place import to_device
from theory.common.cli import Parser, call_as_function, radius, real, run, whole
from theory.common.owner import own_folder

__all__ = ["audit"]


def main(argv: Sequence[str] | None = None) -> int:
    """Audit a model."""
    args = _parser().parse_args(argv)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = to_device(args.device)
    model = load_model(args.model, args.weights)
    samples = load_samples(
        args.data, args.data_dir, download=args.download, scale=args.scale, progress=_reading
    )
    if isinstance(model, torch.nn.Module) and not isinstance(model, torch.fx.GraphModule | Linear):
        model.to(device)
    with own_folder(args.out) as out:
        origin = {"model": args.model, "weights": args.weights, "data": args.data, "seed": args.seed}
        result = audit(
            model,
            samples.x,
            samples.y,
            args.eps,
            args.norm,
            classes=args.classes or samples.classes,
            attacks=args.attacks,
            bounds=None if args.no_bounds else tuple(args.bounds),
            per_class=args.per_class,
            seed=args.seed,
            output=_output(args.output),
            scale=samples.scale,
            steps=args.steps,
            restarts=args.restarts,
            targets=args.targets,
            strength=args.strength,
            sparsity=args.sparsity,
            batch_size=args.batch_size,
            resume=out / "shards",
            origin={k: str(v) for k, v in origin.items() if v is not None},
        )
        result.save(out)
        shutil.rmtree(out / "shards", ignore_errors=True)
    print(f"{result}\n\nreport: {args.out / 'report.html'}")
    return 0


def _reading(files: Iterable[Any]) -> Iterable[Any]:
    bar: Iterable[Any] = tqdm(files, unit="image", desc="reading")
    return bar


def _output(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def _parser() -> Parser:
    parser = Parser(
        prog="deep.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="package.module:function, or a file .pt2, .onnx or .npz")
    add("--weights", type=Path, help="of the model: a file .safetensors, or of torch.save of a state_dict")
    add(
        "--output",
        help="which output of the model are the logits: a place, or a name; the only one if not said",
    )
    add(
        "--data",
        required=True,
        help="a folder of images by class, a file .npz, or the name of a built-in set",
    )
    add("--data-dir", type=Path, help="folder of the files of a built-in set")
    add("--download", action="store_true", help="fetch the files of a built-in set that are missing")
    add("--scale", type=real, help="what inputs of a .npz are divided by, 255 for images of 8 bits")
    add("--classes", nargs="+", help="names of the classes, in the order of the logits")
    add("--eps", type=radius, nargs="+", default=["8/255"], help="radius (8/255), or several")
    add("--norm", nargs="+", choices=get_args(Norm), default=["linf"], help="norm of each radius (linf)")
    add("--attacks", nargs="+", choices=ATTACKS, default=["pgd", "targeted"], help="(pgd targeted)")
    add("--bounds", type=real, nargs=2, default=[0.0, 1.0], metavar=("LOW", "HIGH"), help="of inputs (0 1)")
    add("--no-bounds", action="store_true", help="inputs may have any value")
    add("--per-class", type=whole(1), help="samples of each class, drawn by seed; all if not said")
    add("--steps", type=whole(1), default=20, help="of PGD, each of eps / 4 (20)")
    add("--restarts", type=whole(1), default=1, help="random starts of PGD (1)")
    add("--targets", type=whole(1), default=20, help="most wrong classes that the targeted attack tries (20)")
    add("--strength", type=whole(0), default=10, help="samples of each class to check the attacks on (10)")
    add("--sparsity", type=whole(0), default=0, help="samples of each class to measure sparsity on (0)")
    add("--seed", type=whole(0), default=0, help="of the draw and of random starts (0)")
    add("--batch-size", type=whole(1), help="samples attacked at once; 100, or 500 on CUDA")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    add("--out", type=Path, required=True, help="folder of the report")
    return parser


call_as_function(__name__, audit)

if __name__ == "__main__":
    run(main)
