"""``make bench``: exact training against the published protocol and against L-BFGS-B, on one thread.

All are timed in turn in one process, in batches, by processor time, which other users of the machine
disturb less than wall time; medians are compared.

- L-BFGS-B solves the split w = u - v, u, v >= 0 with 10 corrections, the fastest of 10, 30 and 60. It is told
  the optimum and stops at the first evaluation within 1e-8 of it; ours has to prove its gap.
- The published protocol (AT-on-AD), in torch: Adam on batches of 64 with a learning rate of 0.001, a sign
  attack of one step, at most 500 epochs, stopped after 50 without a better natural validation loss. Its
  gradients add those of the clean loss, which crafting the attack leaves behind; so it is also run without
  them. Each is compared at the objective that it minimises: for the sum of both losses the exact side is
  L-BFGS-B, since `sim.solvers.solve` minimises the adversarial loss alone. The same arithmetic in numpy
  shows how much of the ratio is due to torch.
"""

import statistics
import time
from collections.abc import Callable

import joblib
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from sim.solvers.solve import solve

Array = npt.NDArray[np.float64]
Data = tuple[Array, Array]

EPS = 0.5
MEANS = {
    "dense": lambda d: np.full(d, 0.5 + 3 / d**0.5 if d <= 100 else 0.5 + 1.5 / d**0.5),
    "half": lambda d: np.random.default_rng(0).uniform(0, 1, d) if d <= 100 else np.linspace(0.3, 0.6, d),
    "sparse": lambda d: np.where(np.arange(d) < max(10, d // 50), 1.2, 0.2),
}
"""Mean of class +1, by how many weights the solution has."""


class _Reached(Exception):
    """The target is reached."""


def sample(kind: str, d: int, n: int = 2000, seed: int = 0) -> Data:
    """Return n / 2 samples of each class with standard deviations 4 and 2."""
    rng = np.random.default_rng(seed)
    theta = MEANS[kind](d)
    return theta + 4 * rng.standard_normal((n // 2, d)), -theta + 2 * rng.standard_normal((n // 2, d))


def adversarial_loss(data: Data, w: Array, b: float, eps: float = EPS) -> float:
    """Return the mean logistic loss under the worst attack."""
    shift = eps * np.abs(w).sum()
    margins = np.concatenate([data[0] @ w + b, -(data[1] @ w + b)]) - shift
    return float(np.logaddexp(0, -margins).mean())


def lbfgsb(data: Data, target: float = -np.inf, clean: float = 0.0) -> tuple[Array, float]:
    """Minimise the adversarial loss plus ``clean`` times the clean loss; stop at ``target``."""
    signed = np.concatenate([data[0], -data[1]])
    y = np.repeat([1.0, -1.0], [len(data[0]), len(data[1])])
    n, d = signed.shape

    def objective(theta: Array) -> tuple[float, Array]:
        u, v, b = theta[:d], theta[d:-1], theta[-1]
        t = signed @ (u - v) + y * b
        m = t - EPS * (u + v).sum()
        p = expit(-m)
        value, q = float(np.logaddexp(0, -m).mean()), p
        if clean:
            q = p + clean * expit(-t)
            value += clean * float(np.logaddexp(0, -t).mean())
        if value <= target:
            raise _Reached(theta.copy())
        vector = signed.T @ q
        gradient = np.concatenate([-vector, vector, [-(y @ q)]])
        gradient[:-1] += EPS * p.sum()
        return value, gradient / n

    bounds = [(0, None)] * (2 * d) + [(None, None)]
    options = {"maxiter": 5000, "maxfun": 10_000, "maxcor": 10, "ftol": 0, "gtol": 1e-10}
    start = np.zeros(2 * d + 1)
    try:
        theta = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    except _Reached as reached:
        theta = reached.args[0]
    return theta[:d] - theta[d:-1], float(theta[-1])


def in_numpy(
    data: Data, held: Data, clean: float, rate: float = 1e-3, seed: int = 0
) -> tuple[Array, float, int]:
    """Train by the protocol, in numpy; ``clean`` = 1 keeps the gradient that the attack leaves behind."""
    rng = np.random.default_rng(seed)
    x, d = np.concatenate(data), data[0].shape[1]
    y = np.repeat([1.0, -1.0], [len(data[0]), len(data[1])])
    theta, first, second = rng.uniform(-1, 1, d + 1) / d**0.5, np.zeros(d + 1), np.zeros(d + 1)
    best, waited, step, epoch = np.inf, 0, 0, 0
    while epoch < 500 and waited < 50:
        epoch += 1
        for batch in np.array_split(rng.permutation(len(x)), -(-len(x) // 64)):
            points, label, w = x[batch], y[batch], theta[:-1]
            gradient = np.zeros(d + 1)
            for samples, part in ((points - EPS * label[:, None] * np.sign(w), 1.0), (points, clean)):
                vector = -part * label * expit(-label * (samples @ w + theta[-1])) / len(label)
                gradient += np.append(vector @ samples, vector.sum())
            step += 1
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            size = rate * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            theta = theta - size * first / (np.sqrt(second) + 1e-8)
        value = adversarial_loss(held, theta[:-1], theta[-1], 0.0)
        best, waited = (value, 0) if value < best else (best, waited + 1)
    return theta[:-1], float(theta[-1]), epoch


def in_torch(
    data: Data, held: Data, clean: float, rate: float = 1e-3, seed: int = 0
) -> tuple[Array, float, int]:
    """Train by the protocol, in torch as published."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    torch.manual_seed(seed)

    def tensors(pair: Data) -> TensorDataset:
        y = np.repeat([1.0, 0.0], [len(pair[0]), len(pair[1])])
        return TensorDataset(torch.tensor(np.concatenate(pair)).float(), torch.tensor(y).float()[:, None])

    model, loss = torch.nn.Linear(data[0].shape[1], 1), torch.nn.BCEWithLogitsLoss()
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    loader = DataLoader(tensors(data), batch_size=64, shuffle=True)
    validation = DataLoader(tensors(held), batch_size=64)
    best, waited, epoch = np.inf, 0, 0
    while epoch < 500 and waited < 50:
        epoch += 1
        for x, y in loader:
            adam.zero_grad()
            points = x.clone().requires_grad_()
            loss(model(points), y).backward()
            if not clean:
                adam.zero_grad()
            loss(model((points + EPS * points.grad.sign()).detach()), y).backward()
            adam.step()
        with torch.no_grad():
            value = sum(float(loss(model(x), y)) * len(x) for x, y in validation)
        best, waited = (value, 0) if value < best else (best, waited + 1)
    return model.weight.detach().numpy()[0].astype(float), model.bias.item(), epoch


def seconds(work: Callable[[], object], batch: int) -> float:
    """Return the processor time of one call of a batch."""
    start = time.process_time()
    for _ in range(batch):
        work()
    return (time.process_time() - start) / batch


def in_turn(works: dict[str, Callable[[], object]], repeats: int, batch: int = 1) -> dict[str, float]:
    """Return the median processor time of each, timed in batches in turn after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            spent = seconds(work, batch)
            if turn:
                times[name].append(spent)
    return {name: statistics.median(values) for name, values in times.items()}


def against_lbfgsb() -> None:
    """Print the ratios at both sizes."""
    print("same certified gap of 1e-8, n = 2000, logistic, linf, eps 0.5, standard deviations 4 and 2")
    for d, repeats, batch in ((100, 9, 15), (1000, 7, 2)):
        for kind in MEANS:
            data = sample(kind, d)
            found = solve(*data, eps=EPS)
            target = found.objective + 1e-8

            def ours(data: Data = data) -> object:
                return solve(*data, eps=EPS)

            def theirs(data: Data = data, target: float = target) -> object:
                return lbfgsb(data, target)

            time_of = in_turn({"ours": ours, "L-BFGS-B": theirs}, repeats, batch)
            count = int((found.classifier.weights != 0).sum())
            print(
                f"  d {d:<5} {kind:<7} {count:>4} weights, objective {found.objective:.3f}, gap "
                f"{found.gap:.0e}: {1e3 * time_of['ours']:6.1f} ms = {1 / time_of['ours']:5.0f} problems/s, "
                f"L-BFGS-B {1e3 * time_of['L-BFGS-B']:6.1f} ms, ratio "
                f"{time_of['L-BFGS-B'] / time_of['ours']:.2f}",
                flush=True,
            )


def against_protocol() -> None:
    """Print the ratios to the published protocol, at no higher objective."""
    data, held = sample("half", 100), sample("half", 100, n=1000, seed=1)
    found = solve(*data, eps=EPS)
    total = lbfgsb(data, clean=1.0)
    of = in_turn({"ours": lambda: solve(*data, eps=EPS), "sum": lambda: lbfgsb(data, clean=1.0)}, 15)
    least = found.objective, adversarial_loss(data, *total) + adversarial_loss(data, *total, 0.0)
    print("published protocol, n = 2000, d = 100: L the adversarial loss, S its sum with the clean loss")
    in_torch((data[0][:64], data[1][:64]), held, 0.0)  # loads torch
    for train in (in_torch, in_numpy):
        for clean in (1.0, 0.0):
            start = time.process_time()
            w, b, epochs = train(data, held, clean)
            spent = time.process_time() - start
            reached = adversarial_loss(data, w, b)
            both = reached + adversarial_loss(data, w, b, 0.0)
            form = "as published" if clean else "zeroed"
            print(
                f"  {train.__name__:<8} {form:<12} {epochs:>3} epochs {spent:5.1f} s: "
                f"L {reached:.4f} against {least[0]:.4f}, ratio {spent / of['ours']:5.0f}; "
                f"S {both:.4f} against {least[1]:.4f}, ratio {spent / of['sum']:5.0f}",
                flush=True,
            )


def path() -> None:
    """Print the time of a grid of radii and class weights, solved from neighbour to neighbour."""
    for d in (100, 1000):
        data = sample("half", d)

        def walk(warm: bool, data: Data = data) -> None:
            start = None
            for eps in np.linspace(0.54, 0.5, 9):
                for cost in (1.0, 1.1):
                    found = solve(*data, eps=float(eps), weights=(cost, 1.0), start=start)
                    start = found.classifier if warm else None

        time_of = in_turn({"cold": lambda: walk(False), "warm": lambda: walk(True)}, 3)
        print(
            f"path of 18 problems, d {d}: {18 / time_of['cold']:.0f} problems/s each from 0, "
            f"{18 / time_of['warm']:.0f} from its neighbour"
        )


def scaling() -> None:
    """Print the time against n and d."""
    for n, d in ((1000, 100), (4000, 100), (16_000, 100), (2000, 50), (2000, 200), (2000, 400)):
        data = sample("sparse" if d > 100 else "half", d, n=n)
        spent = in_turn({"ours": lambda x=data: solve(*x, eps=EPS)}, 7)["ours"]
        print(f"n {n:<6} d {d:<4}: {1e3 * spent:7.1f} ms", flush=True)


def _many(seed: int, count: int) -> tuple[float, float]:
    """Solve ``count`` problems; return processor and wall time."""
    data = sample("half", 100, seed=seed)
    wall, start = time.perf_counter(), time.process_time()
    with threadpool_limits(1):
        for _ in range(count):
            solve(*data, eps=EPS)
    return time.process_time() - start, time.perf_counter() - wall


def workers(count: int = 400, repeats: int = 5) -> None:
    """Print what two worker processes do in the time of one, in turn, medians."""
    pools = {jobs: joblib.Parallel(n_jobs=jobs, backend="loky") for jobs in (1, 2)}
    by_processor, by_wall = [], []
    for _ in range(repeats):
        spent = {
            j: pool(joblib.delayed(_many)(seed, count) for seed in range(j)) for j, pool in pools.items()
        }
        one, two = (sum(1 / cpu for cpu, _ in spent[j]) for j in (1, 2))
        by_processor.append(two / one)
        one, two = (j / max(wall for _, wall in spent[j]) for j in (1, 2))
        by_wall.append(two / one)
    print(
        f"two workers: {statistics.median(by_processor):.2f} times the problems of one by processor time, "
        f"{statistics.median(by_wall):.2f} by wall time, medians of {repeats}"
    )


def main() -> None:
    """Print every comparison."""
    with threadpool_limits(1):
        against_lbfgsb()
        against_protocol()
        path()
        scaling()
    workers()


if __name__ == "__main__":
    main()
