"""The audit of models that are not ours: exactness, adapters, what is refused, and that it goes on."""

import io
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

import deep
from deep.attacks.linear_oracle import Linear
from deep.audits import attacked as measuring
from deep.audits import model_files as sources
from deep.audits.any_model import audit
from theory.common.inputs import InputError

sys.path.insert(0, str(Path(__file__).parent))  # for deep.audit --model
ROOT = Path(__file__).parent.parent
QUICK = {"progress": False, "strength": 0, "steps": 8}


def network(classes=3, size=12, **kind):
    torch.manual_seed(0)
    hidden = nn.Linear(size, 8), nn.Tanh(), nn.Linear(8, classes)
    return nn.Sequential(nn.Flatten(), *hidden).to(**kind).eval()


def factory():
    """Return a model for the command line."""
    return network(2, 4)


def samples(n=30, shape=(3, 2, 2), classes=3):
    x = torch.rand((n, *shape), generator=torch.Generator().manual_seed(1))
    return x, torch.arange(n) % classes


def labelled(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


def test_the_errors_are_those_of_the_flags():
    x, _ = samples(60)
    model = network()
    y = labelled(model, x)
    found = audit(model, x, y, 0.05, **QUICK)
    errors = found.errors()
    assert sum(errors.natural) == 0 < sum(errors.robust) < 60 and not found.exact
    assert errors.n == tuple(y.unique(return_counts=True)[1].tolist())
    flags = found.evaluation()
    assert sum(errors.robust) == (~flags.ok_attacked).sum()
    matrix = found.confusion(0)
    assert matrix.sum() == 60 and np.trace(matrix) == flags.ok_attacked.sum()
    assert np.trace(found.confusion()) == 60


def test_without_an_error_no_class_is_called_the_least_safe():
    x, _ = samples(60)
    model = network()
    y = labelled(model, x)
    none, some = (audit(model, x, y, eps, **QUICK) for eps in (0, 0.05))
    assert not sum(none.errors().robust) and "least safe" not in none.finding
    high = 100 * none.worst()["interval"][1]
    assert f"{high:.1f} %" in none.finding and high > 1
    assert "least safe" in some.finding


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("bounds", [(0, 1), None])
def test_a_linear_model_is_exact_by_brute_force(norm, bounds):
    """Over the corners of the ball and the bounds; in l2 and l1 many points of the sphere break no more."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 4)).double()
    model[1].running_mean[:], model[1].running_var[:] = 0.4, 2.0
    x = torch.rand((80, 3), dtype=torch.float64)
    y, eps = labelled(model.eval(), x), {"linf": 0.1, "l2": 0.15, "l1": 0.2}[norm]
    found = audit(model, x, y, eps, norm, bounds=bounds, **QUICK)
    assert found.exact
    shifts = np.array(list(itertools.product([-1, 0, 1], repeat=3)), float)
    if norm != "linf":
        power = 2 if norm == "l2" else 1
        shifts = np.vstack([shifts, np.random.default_rng(0).standard_normal((3000, 3))])
        size = np.linalg.norm(shifts, power, axis=1, keepdims=True)
        shifts /= np.maximum(size, 1e-12)
    points = x[:, None] + eps * torch.from_numpy(shifts)
    if bounds:
        if norm == "linf":
            points = points.clamp(0, 1)
        else:  # a point beyond the bounds is moved in, which takes it nearer: the rest of eps may be used
            points = points.clamp(0, 1)
    right = (model(points.flatten(0, 1)).argmax(1).view(80, -1) == y[:, None]).all(1).numpy()
    exact = found.evaluation().ok_attacked
    assert not (exact & ~right).any()  # nothing breaks what is robust
    differ = (exact != right).mean()
    assert differ == 0 if norm == "linf" else differ <= 0.1
    assert 0 < exact.mean() < 1


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(), LinearSVC(), SGDClassifier(random_state=0), RidgeClassifier()],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.parametrize("classes", [2, 3])
def test_scikit_learn_is_exact_by_brute_force(model, classes):
    rng = np.random.default_rng(0)
    x = rng.random((120, 4))
    names = np.array(["cat", "dog", "emu"])
    y = names[((x - 0.5) @ rng.standard_normal((4, classes))).argmax(1)]
    model.fit(x, y)
    found = audit(model, x, y, 0.05, **QUICK)
    assert found.exact and found.classes == tuple(names[:classes])
    corners = np.array(list(itertools.product([-0.05, 0.05], repeat=4)))
    points = (x[:, None] + corners).clip(0, 1)
    right = (model.predict(points.reshape(-1, 4)).reshape(120, -1) == y[:, None]).all(1)
    right &= model.predict(x) == y
    assert (found.evaluation().ok_attacked == right).all()
    assert 0 < right.mean() < 1
    for attack in found.evaluation().attacks[1:-1]:  # no attack beats the exact error
        assert sum(found.errors(None, attack).robust) <= sum(found.errors().robust)


def test_a_scaler_changes_nothing():
    """The same decision function behind a scaler has the same exact errors."""
    rng = np.random.default_rng(0)
    x, y = rng.random((200, 5)), rng.integers(0, 3, 200)
    scaler = StandardScaler().fit(3 * x + 1)
    inside = LogisticRegression().fit(scaler.transform(x), y)
    plain = LogisticRegression().fit(x, y)
    plain.coef_ = inside.coef_ / scaler.scale_
    plain.intercept_ = inside.intercept_ - plain.coef_ @ scaler.mean_
    piped = make_pipeline(scaler, inside)
    oks = [audit(m, x, y, 0.03, **QUICK).evaluation().ok for m in (plain, piped)]
    assert (oks[0] == oks[1]).all() and 0 < oks[0].mean() < 1
    reduced = make_pipeline(MinMaxScaler(), PCA(3), LogisticRegression()).fit(x, y)
    assert audit(reduced, x, y, 0.03, **QUICK).exact


def test_layers_that_are_not_affine_are_not_exact():
    x, y = samples()
    assert not audit(network(), x, y, 0.05, **QUICK).exact
    hooked = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    hooked.register_forward_hook(lambda *_: _[2].square())
    assert not audit(hooked, x, y, 0.05, **QUICK).exact


class Outputs(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.net, self.make = network(), make

    def forward(self, x):
        return self.make(self.net(x))


@pytest.mark.parametrize(
    ("make", "output"),
    [
        (lambda z: SimpleNamespace(logits=z), None),
        (lambda z: (z.sum(), z), 1),
        (lambda z: {"aux": z.sum(), "out": z}, "out"),
        (lambda z: SimpleNamespace(scores=z), "scores"),
    ],
)
def test_outputs_that_hold_logits(make, output):
    x, y = samples()
    plain = audit(network(), x, y, 0.05, **QUICK).evaluation().ok
    assert (audit(Outputs(make), x, y, 0.05, output=output, **QUICK).evaluation().ok == plain).all()


def test_arrays_batches_and_callables():
    x, y = samples()
    model = network()
    plain = audit(model, x, y, 0.05, **QUICK).evaluation().ok
    pairs = list(zip(x.split(7), y.split(7), strict=True))
    for other in (
        audit(model, x.numpy(), y.numpy(), 0.05, **QUICK),
        audit(model, pairs, eps=0.05, **QUICK),
        audit(lambda z: model(z), x, y.to(torch.int32), 0.05, **QUICK),
        audit(model, x, y, 0.05, batch_size=7, **QUICK),
        audit(model, (x * 4).round().to(torch.uint8), y, 0.05, scale=4, **QUICK),
    ):
        assert other.evaluation().ok.shape == plain.shape
    assert (other.evaluation().labels == y.numpy()).all()
    assert (audit(model, pairs, eps=0.05, **QUICK).evaluation().ok == plain).all()
    assert (audit(lambda z: model(z), x, y, 0.05, **QUICK).evaluation().ok == plain).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_models_work_in_their_own_type(dtype):
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network(dtype=dtype)

        def forward(self, x):
            seen.append(x.dtype)
            return self.net(x)

    x, y = samples()
    found = audit(Watched(), x, y, 0.2, **QUICK)
    assert set(seen) == {dtype}
    assert found.outcome.clean.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert 0 < found.evaluation().ok_attacked.mean() < found.evaluation().ok_natural.mean()


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(network(), nn.Dropout(0.5))
    model.train()
    x, y = samples()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    found = audit(model, x, y, 0.05, **QUICK)
    assert model.training and model[1].training and all(p.requires_grad for p in model.parameters())
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert any("training mode" in note for note in found.notes)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert (audit(model, x, y, 0.05, **QUICK).evaluation().ok == found.evaluation().ok).all()


def test_chance_and_the_batch_are_named():
    x, y = samples()
    model, norm = network(), nn.BatchNorm2d(3)
    noisy = audit(lambda z: model(z + 0.1 * torch.rand_like(z)), x, y, 0.05, **QUICK)
    assert "chance" in noisy.doubts[0]
    together = audit(lambda z: model(norm(z)), x, y, 0.05, **QUICK)
    assert "rest of the batch" in together.doubts[0]
    assert not audit(model, x, y, 0.05, **QUICK).doubts


def test_a_class_without_samples_is_named_and_left_out():
    x, y = samples()
    found = audit(network(4), x, y, 0.05, classes=["a", "b", "c", "d"], **QUICK)
    assert found.errors().classes == ("a", "b", "c") and "class d" in found.notes[0]
    assert found.confusion(0).shape == (4, 5)


def test_subsets_are_stratified_and_said():
    x, y = samples(40, classes=3)
    one, two = (audit(network(), x, y, 0.05, per_class=5, seed=s, **QUICK) for s in (0, 1))
    assert one.errors().n == (5, 5, 5) and any("drawn at random of 40" in n for n in one.notes)
    assert set(one.outcome.index) != set(two.outcome.index)


def test_targets_are_said():
    x, y = samples(12, classes=4)
    names = audit(network(12), x, y, 0.05, targets=3, **QUICK).evaluation().attacks
    assert "the 3 likeliest of 11 wrong classes, 8 left out" in names[2]
    names = audit(network(12), x, y, 0.05, **QUICK).evaluation().attacks
    assert "each of the 11 wrong classes" in names[2]


def test_several_threats():
    x, _ = samples(60)
    model = network()
    y = labelled(model, x)
    norms = ["linf", "l2", "l1"]
    found = audit(model, x, y, [0.03, 0.1, 0.2], norms, **QUICK)
    alone = [audit(model, x, y, e, n, **QUICK) for e, n in zip([0.03, 0.1, 0.2], norms, strict=True)]
    for threat, single in enumerate(alone):
        assert (found.evaluation(threat).ok == single.evaluation().ok).all()
        assert sum(found.errors(threat).robust) <= sum(found.errors().robust)
    union = np.all([a.evaluation().ok_attacked for a in alone], axis=0)
    assert (found.evaluation().ok_attacked == union).all()
    cell = found.worst_cell()
    rates = [found.errors(t).rates("robust_error").max() for t in range(3)]
    assert cell["error"] == max(rates) and cell["interval"][0] < max(rates) < cell["interval"][1]


class Broken(nn.Module):
    """A network whose logits are not finite where the first input is larger than a number."""

    def __init__(self, above, value, column=slice(None)):
        super().__init__()
        self.net, self.above, self.value, self.column = network(), above, value, column

    def forward(self, x):
        logits = self.net(x)
        mask = torch.zeros_like(logits, dtype=torch.bool)
        mask[:, self.column] = True
        return torch.where(mask & (x.flatten(1)[:, :1] > self.above), self.value, logits)


X, Y = samples()
TWO = (X, Y)
FAULTS = {
    "nan on every input": lambda: audit(Broken(-1, np.nan), X, Y),
    "nan on some inputs": lambda: audit(Broken(0.5, np.nan), X, Y),
    "nan in one logit": lambda: audit(Broken(-1, np.nan, 1), X, Y),
    "infinite logits": lambda: audit(Broken(0.5, np.inf), X, Y),
    "minus infinity": lambda: audit(Broken(0.5, -np.inf, 2), X, Y),
    "one logit": lambda: audit(network(1), X, torch.zeros(30, dtype=torch.long)),
    "logits of rank 1": lambda: audit(lambda z: network()(z)[:, 0], X, Y),
    "integer logits": lambda: audit(lambda z: network()(z).round().long(), X, Y),
    "no tensor": lambda: audit(lambda z: network()(z).detach().numpy(), X, Y),
    "a tuple": lambda: audit(lambda z: (network()(z), z), X, Y),
    "output out of range": lambda: audit(lambda z: (network()(z), z), X, Y, output=4),
    "output of no name": lambda: audit(lambda z: (network()(z), z), X, Y, output="logits"),
    "no gradient": lambda: audit(lambda z: network()(z).detach(), X, Y),
    "no model": lambda: audit("resnet18", X, Y),
    "a forest": lambda: audit(KNeighborsClassifier(), X.flatten(1), Y),
    "not fitted": lambda: audit(LogisticRegression(), X.flatten(1), Y),
    "clipping scaler": lambda: audit(
        make_pipeline(MinMaxScaler(clip=True), LogisticRegression()).fit(X.flatten(1), Y), X, Y
    ),
    "wrong features": lambda: audit(LogisticRegression().fit(X.flatten(1), Y), X[..., :1], Y),
    "labels of no class": lambda: audit(LogisticRegression().fit(X.flatten(1), Y), X, Y + 5),
    "wrong shape": lambda: audit(network(), X[..., :1], Y),
    "outside the bounds": lambda: audit(network(), 2 * X - 1, Y),
    "pixels": lambda: audit(network(), 255 * X, Y),
    "integers without a scale": lambda: audit(network(), (255 * X).to(torch.uint8), Y),
    "nan in the inputs": lambda: audit(network(), torch.where(X > 0.9, torch.nan, X), Y),
    "bool inputs": lambda: audit(network(), X > 0.5, Y),
    "complex inputs": lambda: audit(network(), X.to(torch.complex64), Y),
    "text inputs": lambda: audit(network(), np.full((30, 12), "a"), Y),
    "flat inputs": lambda: audit(network(), X.flatten(), Y),
    "ragged inputs": lambda: audit(network(), [[1.0], [1.0, 2.0]], Y[:2]),
    "no samples": lambda: audit(network(), X[:0], Y[:0]),
    "empty batches": lambda: audit(network(), [], eps=0.1),
    "batches of one": lambda: audit(network(), [X], eps=0.1),
    "missing labels": lambda: audit(network(), X),
    "float labels": lambda: audit(network(), X, Y.float()),
    "one-hot labels": lambda: audit(network(), X, nn.functional.one_hot(Y)),
    "bool labels": lambda: audit(network(), X, Y > 0),
    "too few labels": lambda: audit(network(), X, Y[:29]),
    "negative labels": lambda: audit(network(), X, Y - 1),
    "large labels": lambda: audit(network(), X, Y + 1),
    "text labels": lambda: audit(network(), X, np.full(30, "cat")),
    "classes of a wrong number": lambda: audit(network(), X, Y, classes=["a", "b"]),
    "classes twice": lambda: audit(network(), X, Y, classes=["a", "b", "b"]),
    "classes as one text": lambda: audit(network(), X, Y, classes="abc"),
    "eps in pixels": lambda: audit(network(), X, Y, 8),
    "negative eps": lambda: audit(network(), X, Y, -0.1),
    "eps of no number": lambda: audit(network(), X, Y, "8//255"),
    "eps nan": lambda: audit(network(), X, Y, float("nan")),
    "unknown norm": lambda: audit(network(), X, Y, 0.1, "l0"),
    "more eps than norms": lambda: audit(network(), X, Y, [0.1, 0.2], "linf"),
    "one threat twice": lambda: audit(network(), X, Y, [0.1, "0.1"], ["linf", "linf"]),
    "unknown attack": lambda: audit(network(), X, Y, attacks=["cw"]),
    "no attack": lambda: audit(network(), X, Y, attacks=[]),
    "autoattack in l1": lambda: audit(network(), X, Y, 1.0, "l1", attacks="autoattack"),
    "bounds reversed": lambda: audit(network(), X, Y, bounds=(1, 0)),
    "bounds of one": lambda: audit(network(), X, Y, bounds=(1,)),
    "no steps": lambda: audit(network(), X, Y, steps=0),
    "no per-class": lambda: audit(network(), X, Y, per_class=0),
    "negative seed": lambda: audit(network(), X, Y, seed=-1),
    "scale 0": lambda: audit(network(), X, Y, scale=0.0),
    "no such device": lambda: audit(network(), X, Y, device="tpu"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_refused_in_one_sentence(fault):
    with pytest.raises(InputError) as error:
        FAULTS[fault]()
    sentence = str(error.value)
    assert "\n" not in sentence and 10 < len(sentence) < 600, sentence


@pytest.mark.filterwarnings("ignore::theory.common.inputs.DoubtWarning")
def test_logits_that_are_not_finite_under_attack_alone_are_wrong_and_named():
    x = X * 0.4
    y = labelled(network(), x)
    found = audit(Broken(0.4, np.nan), x, y, 0.1, **QUICK)
    assert any("not finite" in doubt for doubt in found.doubts)
    assert found.confusion(0)[:, -1].sum() > 0
    assert sum(found.errors().natural) == 0


def test_saved_and_read_back(tmp_path):
    x, y = samples(24)
    found = audit(network(), x, y, [0.05, 0.1], ["linf", "l2"], classes=["<b>", "a&b", "c"], steps=3,
                  strength=2, progress=False)  # fmt: skip
    out = found.save(tmp_path / "deep" / "er")
    files = {p.name for p in out.iterdir()}
    assert files == {"evaluation.npz", *(f"report.{kind}" for kind in ("json", "csv", "md", "tex", "html"))}
    report = json.loads((out / "report.json").read_text(), parse_constant=lambda text: pytest.fail(text))
    assert report["robust_error"]["errors"] == list(found.errors().robust)
    assert report["worst"]["robust_error"]["interval"] == list(found.worst()["interval"])
    assert {check["threat"] for check in report["strength"]} == {t.name for t in found.threats}
    page = (out / "report.html").read_text()
    assert "<b>" not in page and "&lt;b&gt;" in page and "http" not in page.split("</style>")[1]
    assert page.count('class="robust"') == 3
    same = type(found.evaluation()).read(out / "evaluation.npz")
    assert (same.ok == found.evaluation().ok).all()


def test_an_audit_goes_on(tmp_path, monkeypatch):
    x, y = samples(30)
    whole = audit(network(), x, y, 0.05, batch_size=10, **QUICK)
    made, original = [], measuring._batch

    def counted(*args):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(measuring, "_batch", counted)
    with pytest.raises(KeyboardInterrupt):
        audit(network(), x, y, 0.05, batch_size=10, resume=tmp_path, **QUICK)
    again = audit(network(), x, y, 0.05, batch_size=10, resume=tmp_path, **QUICK)
    assert len(made) == 4 and (again.evaluation().ok == whole.evaluation().ok).all()
    for other in (
        {"model": network().double()},
        {"y": (y + 1) % 3},
        {"eps": 0.06},
        {"seed": 1},
    ):
        before = len(made)
        call = {"model": network(), "x": x, "y": y, "eps": 0.05} | other
        audit(**call, batch_size=10, resume=tmp_path, **QUICK)
        assert len(made) == before + 3, other


def test_a_closure_with_other_weights_takes_nothing_of_the_first(tmp_path):
    x, y = samples()
    model = network()
    first = audit(lambda z: model(z), x, y, 0.05, resume=tmp_path, **QUICK)
    with torch.no_grad():
        model[1].weight.mul_(3)
    second = audit(lambda z: model(z), x, y, 0.05, resume=tmp_path, **QUICK)
    alone = audit(lambda z: model(z), x, y, 0.05, **QUICK)
    assert (second.evaluation().ok == alone.evaluation().ok).all()
    assert (first.evaluation().ok != second.evaluation().ok).any()


def test_the_name_is_a_function_and_a_command():
    code = (
        "import deep, sys; f = deep.audit; assert 'torch' in sys.modules; import deep.audit; "
        "from deep import audit; from deep.audit import main; assert callable(deep.audit) and f is audit; "
        "import torch; m = torch.nn.Linear(4, 2); x = torch.rand(20, 4); "
        "print(deep.audit(m, x, m(x).argmax(1), 0.01, progress=False, strength=0).exact)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
    code = "import deep.compare, sys; assert 'torch' not in sys.modules; deep.nothing"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "AttributeError: module 'deep' has no attribute 'nothing'" in done.stderr


def write_npz(path, n=20, **more):
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.random((n, 4)).astype("f4"), y=np.arange(n) % 2, **more)
    return path


def command(model, data, out, *words):
    return "--model", model, "--data", data, "--out", out, "--eps", "0.05", "--steps", "3", *words


def test_the_command(invoke, tmp_path):
    from deep.audit import main

    data = write_npz(tmp_path / "d.npz", classes=np.array(["cat", "dog"]))
    code, out, err = invoke(main, *command("test_deep_audit:factory", data, tmp_path / "o"))
    assert code == 0, err
    assert (
        "cat" in out
        and (tmp_path / "o" / "report.html").exists()
        and not (tmp_path / "o" / "shards").exists()
    )
    torch.save(network(2, 4).state_dict(), tmp_path / "w.pt")
    code, *_ = invoke(
        main, *command("test_deep_audit:factory", data, tmp_path / "p", "--weights", tmp_path / "w.pt")
    )
    assert code == 0
    linear = {
        "coef": np.ones((1, 4)),
        "intercept": np.array([-2.0]),
        "mean": np.zeros(4),
        "scale": np.ones(4),
    }
    np.savez(tmp_path / "m.npz", **linear)
    code, out, _ = invoke(main, *command(tmp_path / "m.npz", data, tmp_path / "q", "--strength", "0"))
    assert code == 0 and ", exact" in out


def test_an_exported_model(invoke, tmp_path):
    from deep.audit import main

    batch = torch.export.Dim("batch", min=1, max=1000)
    program = torch.export.export(factory(), (torch.rand(3, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "m.pt2")
    data = write_npz(tmp_path / "d.npz")
    words = command(tmp_path / "m.pt2", data, tmp_path / "o", "--strength", "0")
    code, _, err = invoke(main, *words)
    assert code == 0, err
    x, y = (np.load(data)[k] for k in "xy")
    plain = audit(factory(), x, y, "0.05", **{**QUICK, "steps": 3})
    left = type(plain.evaluation()).read(tmp_path / "o" / "evaluation.npz")
    assert (left.ok == plain.evaluation().ok).all()


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("where", ["weights", "constants"])
def test_an_exported_model_cannot_run_code(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    torch.export.save(torch.export.export(factory(), (torch.rand(3, 4),)), "m.pt2")
    evil = io.BytesIO()
    torch.save(Evil(), evil)
    with zipfile.ZipFile("m.pt2") as old, zipfile.ZipFile("bad.pt2", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("_weights_config.json") and where == "weights":
                content = content.replace(b'"use_pickle": false', b'"use_pickle": true')
            if "/weights/" in name and "weight_" in name and not name.endswith(".json"):
                content = evil.getvalue() if where == "weights" else content
            if name.endswith("_constants_config.json") and where == "constants":
                entry = {
                    "path_name": "opaque_obj_0",
                    "is_param": False,
                    "use_pickle": True,
                    "tensor_meta": None,
                }
                content = json.dumps({"config": {"c": entry}}).encode()
                new.writestr(name.split("/data/")[0] + "/data/constants/opaque_obj_0", pickle.dumps(Evil()))
            new.writestr(name, content)
    with pytest.raises(InputError):
        sources.load_model("bad.pt2", None)
    assert not Path("ran").exists()
    with suppress(Exception):
        torch.export.load("bad.pt2")
    assert Path("ran").exists()  # torch alone runs it
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_an_onnx_model(invoke, tmp_path):
    pytest.importorskip("onnx2pytorch")
    pytest.importorskip("onnxscript")
    from deep.audit import main

    example = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    with warnings.catch_warnings(action="ignore"):  # of the exporter
        torch.onnx.export(factory(), (torch.rand(3, 4),), tmp_path / "m.onnx", **example)
    data = write_npz(tmp_path / "d.npz")
    code, _, err = invoke(main, *command(tmp_path / "m.onnx", data, tmp_path / "o", "--strength", "0"))
    assert code == 0, err
    plain = audit(factory(), *(np.load(data)[k] for k in "xy"), "0.05", **{**QUICK, "steps": 3})
    left = type(plain.evaluation()).read(tmp_path / "o" / "evaluation.npz")
    assert (left.ok == plain.evaluation().ok).all()


def test_the_example_of_the_readme_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert [name for name in ("audit", "repair") if f"deep.{name}(" in "".join(blocks)] == ["audit", "repair"]
    quick = (
        "".join(blocks).replace("300", "60").replace('"l2"])', '"l2"], steps=2, strength=0, progress=False)')
    )
    quick = quick.replace('y, eps="4/255")', 'y, eps="4/255", steps=2, progress=False)')
    assert quick.count("steps=2") == 2
    exec(compile(quick, "README", "exec"), {})
    assert (tmp_path / "audit" / "report.html").exists()


def test_a_folder_of_images(invoke, tmp_path):
    image = pytest.importorskip("PIL.Image")
    from deep.audit import main

    for label, name in enumerate(("bee", "ant")):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(3):
            pixels = np.full((1, 4), 80 * i + label, np.uint8)
            image.fromarray(pixels).save(tmp_path / "d" / name / f"{i}.png")
    found = sources.load_samples(str(tmp_path / "d"), None, download=False, scale=None)
    assert found.classes == ("ant", "bee") and found.x.shape == (6, 1, 1, 4) and found.scale == 255
    assert found.y.tolist() == [0, 0, 0, 1, 1, 1] and found.x[3:, 0, 0, 0].tolist() == [0, 80, 160]
    words = command("test_deep_audit:factory", tmp_path / "d", tmp_path / "o", "--strength", "0")
    assert invoke(main, *words)[0] == 0
    (tmp_path / "d" / "ant" / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no image"):
        sources.load_samples(str(tmp_path / "d"), None, download=False, scale=None)


@pytest.mark.parametrize(
    "words",
    [
        ("test_deep_audit:nothing", "d.npz"),
        ("nothing.of:this", "d.npz"),
        ("torch", "d.npz"),
        ("test_deep_audit:ROOT", "d.npz"),
        ("m.pt2", "d.npz"),
        ("bad.pt2", "d.npz"),
        ("bad.npz", "d.npz"),
        ("d.npz", "d.npz"),
        ("test_deep_audit:factory", "missing.npz"),
        ("test_deep_audit:factory", "bad.npz"),
        ("test_deep_audit:factory", "empty"),
        ("test_deep_audit:factory", "imagenet"),
        ("test_deep_audit:factory", "cifar10"),
        ("test_deep_audit:factory", "d.npz", "--weights", "bad.npz"),
        ("test_deep_audit:factory", "d.npz", "--weights", "missing.safetensors"),
        ("test_deep_audit:factory", "d.npz", "--eps", "300"),
        ("test_deep_audit:factory", "d.npz", "--norm", "linf", "l2"),
        ("test_deep_audit:factory", "d.npz", "--data-dir", "."),
    ],
)
def test_commands_that_are_refused(refuses, tmp_path, monkeypatch, words):
    from deep.audit import main

    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "d.npz")
    (tmp_path / "empty").mkdir()
    for name in ("bad.pt2", "bad.npz"):
        (tmp_path / name).write_bytes(b"PK no archive")
    refuses(main, *command(words[0], words[1], tmp_path / "o", *words[2:]))


def test_linear_modules_are_folded_exactly():
    x, y = samples()
    found = audit(Linear(torch.ones((3, 12)) * torch.arange(3)[:, None], torch.zeros(3)), x, y, 0.1, **QUICK)
    assert found.exact and deep.audit is sys.modules["deep.audit"]
