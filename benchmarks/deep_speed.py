"""``make bench``: training and attacking a network against the operations of the published FRL code.

A training step of TRADES with 10 attack steps, and an evaluation by PGD-20, both on PreAct-ResNet-18 at full
width and at width 8, in one process, on the same samples and starts, in turn. On a CPU the
time is that of the process with one thread; on a GPU it is wall time, and training is in bfloat16.

The published operations (Xu et al., ICML 2021, code of the authors), written from their description: the
network is laid out NCHW, does not normalise its inputs, and its ReLUs are out of place (its strided shortcuts
are ours, since theirs are not safe in oneDNN: see `deep.nets.networks.Pointwise`); every attack step
computes the natural softmax anew, with its graph; the loss runs the natural batch twice; every step of the
evaluation backpropagates through all parameters. Its random starts are drawn outside the time that counts.
Ours does none of this, folds batch norm, runs in channels_last, and attacks wide layers on a CPU by tiles of
Winograd. Both attack every sample. Results are equal: shown in float64, and in float32 by the
cross-entropy. From a start 0.001 away the KL divergence is ill conditioned in float32, so that there even two
layouts of one network drift apart sign by sign.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from deep.attacks.evaluate import Attack
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking
from deep.methods.base import Context
from deep.methods.trades import TRADES
from deep.nets.networks import PreActResNet

EPS = float(torch.tensor(8 / 255))
BETA = 6.0
REPEATS = 3
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
SIZES = ((64, 512), (8, 2048)) if CUDA else ((64, 32), (8, 32))  # width, batch
PASSES = {"training": 27, "evaluation": 42}  # forwards' worth of our work an image


class Case:
    """A network, a batch and starting points, made from fixed seeds."""

    def __init__(self, width: int, n: int, dtype: torch.dtype = torch.float32) -> None:
        """Make them; running statistics come from the batch, and a quarter of the labels are wrong."""
        torch.manual_seed(0)
        self.model = PreActResNet((2, 2, 2, 2), width, 10, (0.0,) * 3, (1.0,) * 3).to(DEVICE, dtype)
        self.x = torch.rand(n, 3, 32, 32, dtype=dtype).mul(0.9).add(0.05).to(DEVICE)
        with torch.no_grad():
            for _ in range(8):
                self.model(self.x)
            self.y = self.model.eval()(self.x).argmax(1)
        self.y[::4] = (self.y[::4] + 1) % 10
        self.noise = Noise.of(1, torch.arange(n, device=DEVICE))
        self.near = self.x + 0.001 * context(10).noise(n).normal(self.x.shape[1:])
        low, high = (self.x - EPS).clamp(min=0), (self.x + EPS).clamp(max=1)
        self.uniform = low + (high - low) * self.noise.fork(0).uniform(self.x.shape[1:])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def ours(self) -> "Case":
        """Return this case laid out as ours is."""
        self.model.to(memory_format=torch.channels_last)
        self.x = self.x.contiguous(memory_format=torch.channels_last)
        return self


def logits(model: PreActResNet, x: Tensor) -> Tensor:
    """Return the logits by the operations of the published network, which does not normalise its inputs."""
    out = model.stem(x)
    for block in model.body:
        active = F.relu(block.norm1(out))
        shortcut = out if block.shortcut is None else block.shortcut(active)
        out = block.conv2(F.relu(block.norm2(block.conv1(active))))
        out += shortcut
    out = F.avg_pool2d(F.relu(model.norm(out)), 4)
    return model.head(out.view(len(out), -1))


def projected(x_adv: Tensor, x: Tensor) -> Tensor:
    """Return the nearest point within EPS of x and within [0, 1]."""
    return torch.clamp(torch.min(torch.max(x_adv, x - EPS), x + EPS), 0, 1)


def published_training(case: Case, steps: int = 10) -> Tensor:
    """Take a training step as published and return its training examples."""
    model, x, y, x_adv = case.model, case.x, case.y, case.near
    kl = nn.KLDivLoss(reduction="sum")
    model.eval()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = kl(F.log_softmax(logits(model, x_adv), dim=1), F.softmax(logits(model, x), dim=1))
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = projected(x_adv.detach() + EPS / 4 * gradient.sign(), x)
    model.train()
    case.optimizer.zero_grad()
    natural = F.cross_entropy(logits(model, x), y)
    boundary = kl(F.log_softmax(logits(model, x_adv), dim=1), F.softmax(logits(model, x), dim=1)) / len(y)
    (natural + BETA * boundary).backward()
    case.optimizer.step()
    return x_adv


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


def published_evaluation(case: Case, steps: int = 20) -> Tensor:
    """Return whether each sample is right without, and under, the attack, as published; shape (2, n)."""
    model, x, y, x_adv = case.model, case.x, case.y, case.uniform
    model.eval()
    with torch.no_grad():
        natural = logits(model, x).argmax(1) == y
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        model.zero_grad()
        F.cross_entropy(logits(model, x_adv), y, reduction="sum").backward()
        x_adv = projected(x_adv.detach() + EPS / 4 * x_adv.grad.sign(), x)
    with torch.no_grad():
        return torch.stack([natural, logits(model, x_adv).argmax(1) == y])


def our_evaluation(case: Case, steps: int = 20) -> Tensor:
    """Return the same by ours."""
    attack = Attack(EPS, "8/255", steps)
    with attacking(case.model):
        with torch.no_grad():
            clean = case.model(case.x)
        natural = clean.argmax(1) == case.y
        answers = attack.answers(case.model, case.x, case.y, clean, case.noise)
    return torch.stack([natural, answers == case.y])


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return process and wall time of one call."""
    if CUDA:
        torch.cuda.synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    if CUDA:
        torch.cuda.synchronize()
    return time.process_time() - cpu, time.perf_counter() - wall


Times = dict[str, list[tuple[float, float]]]


def interleaved(works: dict[str, Callable[[], object]], repeats: int) -> tuple[dict[str, object], Times]:
    """Return what each returned last, and the process and wall times of its calls, made in turn."""
    results, times = {}, {name: [] for name in works}

    def call(name: str) -> None:
        results[name] = works[name]()

    for _ in range(repeats):
        for name in works:
            times[name].append(seconds(partial(call, name)))
    return results, times


def convolution_peak(dtype: torch.dtype, n: int) -> float:
    """Return the operations a second of a large 3 x 3 convolution, 64 to 64 channels at 32 x 32."""
    x = torch.rand(n, 64, 32, 32, dtype=dtype, device=DEVICE).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(64, 64, 3, 3, dtype=dtype, device=DEVICE).contiguous(
        memory_format=torch.channels_last
    )
    runs = 50 if CUDA else 5
    work = {"": lambda: [F.conv2d(x, weight, padding=1) for _ in range(runs)]}
    times = interleaved(work, 5)[1][""]
    return runs * 2 * n * 32**2 * 64**2 * 9 / statistics.median(t[CUDA] for t in times)


def forward_operations(case: Case) -> float:
    """Return the operations of one forward of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        case.model(case.x[:1])
    return counter.get_total_flops()


WORKS = {
    "evaluation": (published_evaluation, our_evaluation),
    "training": (published_training, our_training),
}


def speed(width: int, n: int, repeats: int) -> None:
    """Print times, images a second and ratios of evaluation and training at one width."""
    cases = Case(width, n), Case(width, n).ours()
    operations = forward_operations(cases[1])
    print(f"width {width}, {n} images, median of {repeats} in turn (smallest, largest ratio of a turn)")
    for name, functions in WORKS.items():
        for function, case in zip(functions, cases, strict=True):
            function(case, 2)  # a warm-up
        variants = zip(("published", "ours"), functions, cases, strict=True)
        results, times = interleaved({v: partial(f, case) for v, f, case in variants}, repeats)
        turns = list(zip(*times.values(), strict=True))
        for variant, taken in times.items():
            cpu, wall = map(statistics.median, zip(*taken, strict=True))
            rate = n / (cpu, wall)[CUDA]
            print(f"  {name:<10} {variant:<9} {cpu:7.3f} s CPU {wall:7.3f} s wall {rate:8.2f} images/s")
        for kind, i in (("process time", 0), ("wall time", 1)):
            ratios = [theirs[i] / ours[i] for theirs, ours in turns]
            spread = f"({min(ratios):.2f}, {max(ratios):.2f})"
            print(f"  {name:<10} ratio of {kind} {statistics.median(ratios):.2f} {spread}")
        dtype = torch.bfloat16 if CUDA and name == "training" else torch.float32
        peak = convolution_peak(dtype, n)
        share = PASSES[name] * operations * rate / peak
        print(
            f"  {name:<10} ours does the work of {share:.0%} of the {peak / 1e9:.0f} Gop/s of a convolution"
        )
        if name == "evaluation":
            differ = int((results["published"] != results["ours"]).sum())
            print(f"  {name:<10} {differ} of {2 * n} decisions differ in float32")


def weights(case: Case) -> Tensor:
    """Return all parameters of a network as one vector."""
    return torch.cat([p.detach().flatten() for p in case.model.parameters()])


def equality(width: int, n: int) -> None:
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
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name, functions in WORKS.items():
            peaks = (pool.apply(peak_memory, (f, i == 1, width, n)) for i, f in enumerate(functions))
            theirs, ours = (peak / 2**20 for peak in peaks)
            share = f"{theirs:.0f} MiB published, {ours:.0f} MiB ours: {ours / theirs:.2f}"
            print(f"width {width}, {n} images: {name:<10} peak memory of a process {share}")


def main() -> None:
    """Print everything."""
    torch.set_num_threads(1)
    print(torch.cuda.get_device_name() if CUDA else "CPU, one thread; ratios are of process time")
    for width, n in SIZES:  # first: on Linux a new process begins with the peak of the one that started it
        memory(width, n)
    for width, n in ((8, 8), (64, 2)):
        equality(width, n)
    for width, n in SIZES:
        speed(width, n, REPEATS if width == 64 else 5 * REPEATS)


if __name__ == "__main__":
    main()
