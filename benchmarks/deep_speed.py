"""``make bench``: training and attacking a network against the operations of the published FRL code.

A training step of TRADES with 10 attack steps, and an evaluation by PGD-20, both on PreAct-ResNet-18 at full
width and at width 8, in one process, on the same samples and starts, in turn, medians compared. On a CPU the
time is that of the process with one thread; on a GPU it is wall time, and training is in bfloat16.

The published operations (Xu et al., ICML 2021, code of the authors), written from their description: every
attack step computes the natural softmax anew, with its graph; the loss runs the natural batch twice; every
evaluation step backpropagates through all parameters. Ours does not, folds batch norm, and runs in
channels_last. Results are equal: shown in float64, and in float32 by the cross-entropy. From a start 0.001
away the KL divergence is ill conditioned in float32, so that there even two layouts of one network drift
apart sign by sign.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from deep.attacks import attacking
from deep.evaluate import Attack
from deep.methods.base import Context
from deep.methods.trades import TRADES
from deep.models import PreActResNet
from deep.noise import Noise

EPS = float(torch.tensor(8 / 255))
BETA = 6.0
REPEATS = 3
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
SIZES = ((64, 512), (8, 2048)) if CUDA else ((64, 16), (8, 32))  # width, batch
PASSES = {"training": 27, "evaluation": 42}  # forwards' worth of our work an image


class Case:
    """A network, a batch and starting points, made from fixed seeds."""

    def __init__(self, width: int, n: int, dtype: torch.dtype = torch.float32) -> None:
        """Make them; running statistics come from the batch, and a quarter of the labels are wrong."""
        torch.manual_seed(0)
        self.model = PreActResNet((2, 2, 2, 2), width, 10, (0.5,) * 3, (0.25,) * 3).to(DEVICE, dtype)
        self.x = torch.rand(n, 3, 32, 32, dtype=dtype).mul(0.9).add(0.05).to(DEVICE)
        with torch.no_grad():
            for _ in range(8):
                self.model(self.x)
            self.y = self.model.eval()(self.x).argmax(1)
        self.y[::4] = (self.y[::4] + 1) % 10
        self.noise = Noise.of(1, torch.arange(n, device=DEVICE))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def ours(self) -> "Case":
        """Return this case laid out as ours is."""
        self.model.to(memory_format=torch.channels_last)
        self.x = self.x.contiguous(memory_format=torch.channels_last)
        return self


def projected(x_adv: Tensor, x: Tensor) -> Tensor:
    """Return the nearest point within EPS of x and within [0, 1]."""
    return torch.clamp(torch.min(torch.max(x_adv, x - EPS), x + EPS), 0, 1)


def published_training(case: Case, steps: int = 10) -> Tensor:
    """Take a training step as published and return its training examples."""
    model, x, y = case.model, case.x, case.y
    kl = nn.KLDivLoss(reduction="sum")
    model.eval()
    x_adv = x + 0.001 * training_noise(len(y)).normal(x.shape[1:])
    for _ in range(steps):
        x_adv.requires_grad_()
        loss = kl(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x), dim=1))
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = projected(x_adv.detach() + EPS / 4 * gradient.sign(), x)
    model.train()
    case.optimizer.zero_grad()
    natural = F.cross_entropy(model(x), y)
    boundary = kl(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x), dim=1)) / len(y)
    (natural + BETA * boundary).backward()
    case.optimizer.step()
    return x_adv


def training_noise(n: int) -> Noise:
    """Return the random numbers of the starts of a training step."""
    return context(10).noise(n)


def context(steps: int) -> Context:
    """Return what the method needs, with a new generator of a fixed seed."""
    return Context(10, EPS, steps, torch.Generator(DEVICE).manual_seed(2))


def our_training(case: Case, steps: int = 10) -> Tensor:
    """Take a training step of TRADES and return its training examples."""
    method = TRADES(TRADES.Params(beta=BETA), context(steps))
    with torch.autocast(DEVICE, torch.bfloat16, enabled=CUDA and case.x.dtype == torch.float32):
        case.model.train()
        adv = method.attack(case.model, case.x, case.y)
        loss = method.loss(case.model, case.x, case.y, adv)
    case.optimizer.zero_grad()
    loss.backward()
    case.optimizer.step()
    return adv


def start(case: Case) -> Tensor:
    """Return the random start of an evaluation."""
    low, high = (case.x - EPS).clamp(min=0), (case.x + EPS).clamp(max=1)
    return low + (high - low) * case.noise.fork(0).uniform(case.x.shape[1:])


def published_evaluation(case: Case, steps: int = 20) -> Tensor:
    """Return whether each sample is right without, and under, the attack, as published; shape (2, n)."""
    model, x, y = case.model, case.x, case.y
    model.eval()
    with torch.no_grad():
        natural = model(x).argmax(1) == y
    x_adv = start(case)
    for _ in range(steps):
        x_adv.requires_grad_()
        model.zero_grad()
        F.cross_entropy(model(x_adv), y, reduction="sum").backward()
        x_adv = projected(x_adv.detach() + EPS / 4 * x_adv.grad.sign(), x)
    with torch.no_grad():
        return torch.stack([natural, model(x_adv).argmax(1) == y])


def our_evaluation(case: Case, steps: int = 20, *, prune: bool = False) -> Tensor:
    """Return the same by ours, on every sample, or on those alone that are right without an attack."""
    attack = Attack(EPS, "8/255", steps)
    with attacking(case.model):
        with torch.no_grad():
            clean = case.model(case.x)
        natural = clean.argmax(1) == case.y
        tried = natural if prune else torch.ones_like(natural)
        withstood = torch.zeros_like(natural)
        chosen = (v[tried] for v in (case.x, case.y, clean, case.noise))
        withstood[tried] = attack.withstood(case.model, *chosen)
    return torch.stack([natural, withstood])


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return process and wall time of one call."""
    if CUDA:
        torch.cuda.synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    if CUDA:
        torch.cuda.synchronize()
    return time.process_time() - cpu, time.perf_counter() - wall


def interleaved(
    works: dict[str, Callable[[], object]], repeats: int
) -> tuple[dict[str, object], dict[str, tuple[float, float]]]:
    """Return what each returns in a warm-up, then the median process and wall times, called in turn."""
    results = {name: work() for name, work in works.items()}
    times = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work))
    medians = {name: tuple(map(statistics.median, zip(*t, strict=True))) for name, t in times.items()}
    return results, medians


def convolution_peak(dtype: torch.dtype, n: int) -> float:
    """Return the operations a second of a large 3 x 3 convolution, 64 to 64 channels at 32 x 32."""
    x = torch.rand(n, 64, 32, 32, dtype=dtype, device=DEVICE).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(64, 64, 3, 3, dtype=dtype, device=DEVICE).contiguous(
        memory_format=torch.channels_last
    )
    runs = 50 if CUDA else 5
    work = {"": lambda: [F.conv2d(x, weight, padding=1) for _ in range(runs)]}
    return runs * 2 * n * 32**2 * 64**2 * 9 / interleaved(work, 5)[1][""][CUDA]


def forward_operations(case: Case) -> float:
    """Return the operations of one forward of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        case.model(case.x[:1])
    return counter.get_total_flops()


def speed(width: int, n: int, repeats: int) -> None:
    """Print times, images a second and ratios of training and evaluation at one width."""
    published, ours = Case(width, n), Case(width, n).ours()
    print(f"width {width}, {n} images")
    peaks = {"training": torch.bfloat16 if CUDA else torch.float32, "evaluation": torch.float32}
    operations = forward_operations(ours)
    works = {
        "evaluation": {
            "published": lambda: published_evaluation(published),
            "ours": lambda: our_evaluation(ours),
            "ours, pruned": lambda: our_evaluation(ours, prune=True),
        },
        "training": {"published": lambda: published_training(published), "ours": lambda: our_training(ours)},
    }
    for name, work in works.items():
        results, times = interleaved(work, repeats)
        peak = convolution_peak(peaks[name], n)
        for variant, (cpu, wall) in times.items():
            ratio = times["published"][CUDA] / times[variant][CUDA]
            print(
                f"  {name:<10} {variant:<12} {cpu:7.3f} s CPU {wall:7.3f} s wall "
                f"{n / (cpu, wall)[CUDA]:8.2f} images/s  ratio {ratio:.2f} "
                f"(wall {times['published'][1] / wall:.2f})"
            )
        share = PASSES[name] * operations * n / times["ours"][CUDA] / peak
        print(f"  {name:<10} ours runs at {share:.0%} of the {peak / 1e9:.0f} Gop/s of a bare convolution")
        if name == "evaluation":
            differ = int((results["published"] != results["ours"]).sum())
            print(f"  {name:<10} {differ} of {2 * n} decisions differ in float32")


def weights(case: Case) -> Tensor:
    """Return all parameters of a network as one vector."""
    return torch.cat([p.detach().flatten() for p in case.model.parameters()])


def equality(width: int = 8, n: int = 8) -> None:
    """Print how far one training step and one evaluation are apart in float64."""
    published, ours = Case(width, n, torch.float64), Case(width, n, torch.float64).ours()
    flips = (published_evaluation(published) != our_evaluation(ours)).sum()
    before = weights(published)
    examples = published_training(published), our_training(ours)
    theirs, our = weights(published), weights(ours)
    apart = float((theirs - our).abs().max() / (theirs - before).abs().max())
    pixels = int((examples[0] != examples[1]).sum())
    print(f"float64, width {width}: {pixels} of {examples[0].numel()} pixels of training examples differ,")
    print(f"  parameters by {apart:.1e} of the largest move, {int(flips)} of {2 * n} decisions")


def peak_memory(work: Callable[..., Tensor], ours: bool, width: int, n: int) -> int:
    """Return the peak of memory in bytes, that of the network included, of two attack steps and the rest."""
    torch.set_num_threads(1)
    case = Case(width, n)
    case = case.ours() if ours else case
    for _ in range(2):
        work(case, 2)
    if CUDA:
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts KiB


def memory(width: int, n: int) -> None:
    """Print the peak memory of each, in a process of its own."""
    works = {
        "training": ((published_training, False), (our_training, True)),
        "evaluation": ((published_evaluation, False), (our_evaluation, True)),
    }
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name, variants in works.items():
            theirs, ours = (pool.apply(peak_memory, (*v, width, n)) / 2**20 for v in variants)
            share = f"{theirs:.0f} MiB published, {ours:.0f} MiB ours: {ours / theirs:.2f}"
            print(f"  {name:<10} peak memory of a process {share}")


def main() -> None:
    """Print everything."""
    torch.set_num_threads(1)
    print(torch.cuda.get_device_name() if CUDA else "CPU, one thread; ratios are of process time")
    equality()
    for width, n in SIZES:
        speed(width, n, REPEATS if width == 64 else 3 * REPEATS)
    memory(*SIZES[0])


if __name__ == "__main__":
    main()
