"""``python -m deep.portrait RUN... --out FILE.npz``: what networks look at (Tsipras et al., 2019).

For a few test images of each class: the gradient of the loss at the image, and where an attack takes the
image that may go several times as far as the one trained against. A natural network and robust ones after it
show whether robust gradients follow what a person sees. The images are the first of each class, not chosen.
"""

import argparse
import copy
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball
from deep.attacks.pgd import attacking, cross_entropy, gradient_of, pgd, predicted
from deep.data import Split
from deep.runs.reload import Run, load_run
from deep.runs.shipped import working_copy
from theory.common.arrays import packed
from theory.common.cli import Parser, caution, real, run, whole
from theory.common.files import write_atomic
from theory.common.inputs import InputError, check_real
from theory.common.owner import own_folder
from theory.results.methods import labels_of
from theory.results.run_files import PORTRAITS

__all__ = ["gradients", "saliency_and_examples"]

STEPS = 40
CLIP = 3.0  # standard deviations that a gradient is clipped at: Tsipras et al. (2019), section 3.1


def gradients(model: nn.Module, x: Tensor, y: Tensor) -> npt.NDArray[np.uint8]:
    """Return the gradient of the cross-entropy at each image as a picture: 128 where it is 0.

    It is clipped at `CLIP` root mean squares of its image, and computed in float64: a network that is sure
    has a gradient that vanishes in float32.

    Args:
        model: returns logits; left as it was.
        x: images in [0, 1], shape (n, c, h, w).
        y: labels, shape (n,).
    """
    exact, at = copy.deepcopy(model).double(), x.double().requires_grad_(True)
    with attacking(exact):
        gradient = gradient_of(F.cross_entropy(exact(at), y, reduction="sum"), at)
    scale = CLIP * gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-300)
    return (128 + 127 * (gradient / scale).clamp(-1, 1)).round().byte().cpu().numpy()


def saliency_and_examples(runs: Sequence[Run], split: Split, times: float) -> dict[str, npt.NDArray[Any]]:
    """Return the pictures of some networks, as `paper_figs.archive.Saliency` describes them, but for names.

    Args:
        runs: of one radius and data set.
        split: the images.
        times: radius of the attack, in units of that of the runs.

    Raises:
        InputError: a logit is not finite.
    """
    x, y = split.inputs(slice(None)), split.labels
    eps = min(times * runs[0].settings.attack.eps, 1.0)
    ball = Ball(x, torch.full(y.shape, eps, dtype=x.dtype, device=x.device))
    step = 2.5 * ball.eps / STEPS
    attacked = [pgd(r.model, ball, x, step, STEPS, cross_entropy(y)) for r in runs]
    with torch.no_grad():
        predictions = [predicted(r.model(adv)).cpu().numpy() for r, adv in zip(runs, attacked, strict=True)]
    for trained, answers in zip(runs, predictions, strict=True):
        if answers.min() < 0:
            raise InputError(f"the network of {trained.settings.method} has logits that are not finite")
    return {
        "images": _picture(x),
        "labels": y.cpu().numpy(),
        "gradients": np.stack([gradients(r.model, x, y) for r in runs]),
        "adversarial": np.stack([_picture(adv) for adv in attacked]),
        "predicted": np.stack(predictions),
    }


def _picture(x: Tensor) -> npt.NDArray[np.uint8]:
    return (255 * x).round().byte().cpu().numpy()


def _shared(runs: Sequence[Run], per_class: int) -> Split:
    """Return the first images of each class that every run tests on.

    Raises:
        InputError: a class has too few.
    """
    test = runs[0].data.test
    index = test.index.cpu().numpy()
    tested = reduce(np.intersect1d, (r.data.test.index.cpu().numpy() for r in runs))
    labels, chosen = test.labels.cpu().numpy(), []
    for c, name in enumerate(runs[0].data.classes):
        members = np.flatnonzero((labels == c) & np.isin(index, tested))
        if len(members) < per_class:
            raise InputError(
                f"--per-class must be at most {len(members)}, the test images of class {name} that the runs "
                f"share, got {per_class}"
            )
        chosen += sorted(members, key=lambda i: index[i])[:per_class]
    return test.take(torch.tensor(chosen, device=test.labels.device))


def _check(folders: Sequence[Path], runs: Sequence[Run]) -> None:
    """Refuse runs that cannot be looked at together."""
    for folder, other in zip(folders, runs, strict=True):
        if (
            other.data.sha256 != runs[0].data.sha256
            or other.settings.attack.eps != runs[0].settings.attack.eps
        ):
            raise InputError(
                f"{folder} is of {other.settings.dataset}, eps={other.settings.eps}; the runs must be of "
                f"the data and the radius of {folders[0]}: {runs[0].settings.dataset}, "
                f"eps={runs[0].settings.eps}"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the saliency maps and large-eps examples and write them into one file."""
    parser = Parser(prog="deep.portrait", description=__doc__)
    add = parser.add_argument
    add(
        "runs",
        nargs="+",
        type=working_copy,
        metavar="RUN",
        help="folders of runs of deep.train, a natural one first",
    )
    add(
        "--out", type=Path, required=True, metavar="FILE", help=f"file to write, with a name like {PORTRAITS}"
    )
    add("--per-class", type=whole(1), default=1, help="images of each class")
    add("--times", type=real, default=4.0, help="radius of the attack, in units of that of the runs")
    add("--data-dir", type=Path, help="folder of the data files; the one that the runs had if None")
    add("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    args = parser.parse_args(argv)
    check_real("--times", args.times, low=0, strict=True)
    if not args.out.match(PORTRAITS):
        raise InputError(f"--out must be a file with a name like {PORTRAITS}, got {args.out}")
    runs = [load_run(folder, data_dir=args.data_dir, device=args.device) for folder in args.runs]
    _check(args.runs, runs)
    with own_folder(args.out.parent):
        _draw(args, runs)
    return 0


def _draw(args: argparse.Namespace, runs: Sequence[Run]) -> None:
    """Draw the saliency maps and large-eps examples and write them."""
    for sentence in dict.fromkeys(sentence for trained in runs for sentence in trained.warnings):
        caution(sentence)
    torch.set_num_threads(runs[0].settings.threads)
    pictures = saliency_and_examples(runs, _shared(runs, args.per_class), args.times)
    settings = runs[0].settings
    protocol = (
        f"{settings.dataset}; attack: PGD-{STEPS}, cross-entropy, l-infinity, from the image, "
        f"eps={args.times:g} x {settings.eps}"
    )
    methods = [r.settings.method_id for r in runs]
    labels = labels_of(methods)
    names = [labels[method] for method in methods]
    texts = {"networks": names, "runs": [r.settings.id for r in runs], "classes": runs[0].data.classes}
    texts |= {"protocol": [protocol]}
    content = packed(pictures | texts)
    write_atomic(args.out, content)
    print(f"saliency and large-eps examples: {args.out} ({len(content) / 1000:.0f} kB)")


if __name__ == "__main__":
    run(main)
