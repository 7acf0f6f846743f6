"""deep.repair: a stage after training leaves a run like any other, whose base is the run it was made of."""

import json

import numpy as np
import pytest
import torch

import deep
from deep import compare, promote, train
from deep.attacks.evaluate import evaluate
from deep.data import Split
from deep.repair import main as repair
from deep.runs.reload import load_run
from deep.stages import STAGES
from deep.stages.any_network import Shifted
from deep.stages.head_norm import with_equal_rows
from deep.stages.head_tune import HeadTune, tuned_head
from deep.stages.interpolate import between_weights
from deep.stages.offsets import clean_margins, controls_table, shift_head
from deep.training.seeds import stream
from theory.common.inputs import InputError
from theory.networks.class_offsets import RobustMargins
from theory.results.methods import MethodId, bases_of, labels_of
from theory.results.runs import read_runs

WORDS = (
    "--epochs 3 --train-per-class 40 --test-per-class 12 --width 8 --steps 3 --eval-steps 5 --val-every 3"
).split()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return the folder of a run."""
    folder = tmp_path_factory.mktemp("runs") / "pgd-0"
    assert train.main([*WORDS, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def repaired(base):
    """Return the folder of the same run with offsets."""
    assert repair([str(base), "--budget", "20"]) == 0
    return base.with_name("pgd-0-offsets")


def test_the_new_run_is_the_network_with_a_shifted_bias(base, repaired):
    before, after = load_run(base), load_run(repaired)
    result = json.loads((repaired / "result.json").read_text())
    offsets = np.array(result["state"]["offsets"])
    assert offsets.shape == (10,) and np.abs(offsets).max() > 0
    ours, theirs = (dict(r.model.named_parameters()) for r in (before, after))
    changed = {name for name, p in ours.items() if not torch.equal(p, theirs[name])}
    assert changed == {"head.bias"}
    shift = (theirs["head.bias"] - ours["head.bias"]).detach().double().numpy()
    assert np.allclose(shift, offsets, atol=1e-6)


def test_its_flags_are_those_of_a_full_attack_of_the_shifted_network(repaired):
    run = load_run(repaired)
    again = evaluate(run.model, run.data.test, *run.attacks, seed=stream(0, "test"))
    assert np.array_equal(again.ok, run.evaluation.ok)
    assert not (repaired / "shards").exists()


def test_its_base_is_the_run(base, repaired, invoke):
    runs = read_runs([base, repaired])
    methods = [MethodId.of_record(run.records[0]) for run in runs]
    labels = labels_of(methods)
    assert sorted(labels.values()) == ["PGD", "PGD + offsets"]
    plain, staged = sorted(methods, key=lambda m: len(m.stage))
    assert bases_of(methods) == {staged: plain} and plain.is_base and not staged.is_base
    assert {
        r.extra.get("offsets") is not None for r in runs[1].records if r.label not in ("average", "worst")
    } == {True}
    code, out, _ = invoke(compare.main, str(base), str(repaired))
    assert code == 0 and "PGD + offsets" in out


def test_a_repaired_run_is_promoted_with_the_command_that_makes_it(base, repaired, tmp_path):
    assert promote.main([str(base), str(repaired), "--to", str(tmp_path / "records")]) == 0
    runs = {len(MethodId.of_record(run.records[0]).stage): run for run in read_runs([tmp_path / "records"])}
    argv = runs[max(runs)].records[0].provenance["argv"]
    id_of_base = json.loads((base / "config.json").read_text())["id"]
    assert argv[:4] == ["python", "-m", "deep.repair", f"runs/deep/{id_of_base}"]
    assert "--budget=20.0" in argv and "--stage=offsets" in argv
    assert runs[0].validation is not None and runs[max(runs)].validation is None


def test_a_repair_that_is_done_is_not_done_again(base, repaired, invoke):
    before = (repaired / "result.json").stat().st_mtime_ns
    code, out, _ = invoke(repair, str(base), "--budget", "20")
    assert code == 0 and str(repaired) in out and (repaired / "result.json").stat().st_mtime_ns == before


def test_an_interrupted_repair_goes_on(base, repaired, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("deep.repair.evaluate", stop)
        repair([str(base), "--budget", "20", "--out", str(tmp_path / "out")])
    kept = [*(tmp_path / "out" / "shards").glob("margins-*.npz")]
    assert kept and not (tmp_path / "out" / "result.json").exists()
    assert repair([str(base), "--budget", "20", "--out", str(tmp_path / "out")]) == 0
    for name in ("flags.npz", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (repaired / name).read_bytes()


def test_offsets_of_theory_need_no_search(base, tmp_path):
    assert repair([str(base), "--theory", "--out", str(tmp_path / "out")]) == 0
    state = json.loads((tmp_path / "out" / "result.json").read_text())["state"]
    assert state["worst_weight"] is None and abs(sum(state["offsets"])) < 1e-9


def test_a_network_with_rounded_weights_is_repaired_like_any_other(base, tmp_path, refuses):
    """As those that come with the package; its base is the rounded network where the first is not there."""
    half, both = tmp_path / "half", tmp_path / "half-offsets"
    assert repair([str(base), "--stage", "half", "--out", str(half)]) == 0
    assert repair([str(half), "--budget", "20"]) == 0
    rounded, plain, shifted = (MethodId.of_record(read_runs([f])[0].records[0]) for f in (half, base, both))
    assert bases_of([rounded, shifted]) == {shifted: rounded}
    assert bases_of([rounded, plain, shifted]) == dict.fromkeys([rounded, shifted], plain)
    bias = (load_run(f).model.state_dict()["head.bias"] for f in (base, both))
    assert not torch.equal(*bias)
    for folder in (half, both):
        refuses(repair, folder, "--stage", "half", says=["repaired"])


WRONG = {
    "no run": (["nowhere"], "nowhere"),
    "stage": (["RUN", "--stage", "magic"], "magic"),
    "budget": (["RUN", "--budget", "-1"], "budget"),
    "flag": (["RUN", "--speed", "3"], "speed"),
    "repaired": (["RUN-offsets"], "repaired"),
    "other run": (["RUN", "--out", "RUN"], "RUN"),
    "two for one folder": (["RUN", "RUN", "--out", "X"], "--out"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_refused(name, base, repaired, invoke):
    words, says = WRONG[name]
    words = [w.replace("RUN", str(base)) for w in words]
    code, out, err = invoke(repair, *words)
    assert code == 2 and not out and err.count("\n") == 1 and says.replace("RUN", str(base)) in err
    assert load_run(base)


def test_a_network_without_a_last_bias_is_refused():
    for layer in (torch.nn.Linear(4, 3, bias=False), torch.nn.Linear(4, 2), torch.nn.Flatten()):
        with pytest.raises(InputError, match="bias of 3 classes"):
            shift_head(layer, np.zeros(3))


def test_offsets_go_to_the_last_linear_layer_where_none_is_called_head():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3))
    x, offsets = torch.rand(5, 4), np.array([0.5, 0.0, -1.0])
    assert torch.allclose(shift_head(model, offsets)(x), model(x) + torch.tensor(offsets).float())


def test_controls_show_no_gain_where_there_is_none_to_have():
    """Class 0 is hard for its samples alone: permuting its offset over classes must not help it."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 40)
    margins = rng.normal(-1.5, 1.0, (160, 4))
    margins[labels == 0] += 1.5
    margins[np.arange(160), labels] = 0
    clean = RobustMargins(margins - 1, labels)
    table = controls_table(RobustMargins(margins, labels), clean, np.array([1.2, -0.4, -0.4, -0.4]), 0.5)
    worst = {row[0].split(":")[-1].split(",")[0].strip(): float(row[2]) for row in table.rows}
    assert worst["offsets"] < worst["without offsets"] - 15
    assert worst["permuted over classes"] > worst["without offsets"] - 1
    assert worst["chosen with labels shuffled"] > worst["without offsets"] - 10
    assert worst["chosen on the samples counted"] <= worst["offsets"] + 1


def test_stages_are_found_and_clean_margins_are_of_the_logits(base):
    assert set(STAGES) >= {"offsets"}
    run = load_run(base)
    margins = clean_margins(run.model, run.data.test)
    right = margins.robust(np.zeros(10))
    assert np.array_equal(right, run.evaluation.ok_natural)


def test_rows_of_the_head_get_one_norm():
    model = torch.nn.Module()
    model.head = torch.nn.Linear(2, 3)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]]))
        model.head.bias.copy_(torch.tensor([1.0, 1.0, 1.0]))
    scaled, norms = with_equal_rows(model)
    assert norms == [5, 1, 10]
    mean = 16 / 3
    assert torch.allclose(scaled.head.weight.norm(dim=1), torch.full((3,), mean))
    assert torch.allclose(scaled.head.bias, mean / torch.tensor([5.0, 1.0, 10.0]))
    assert model.head.bias.tolist() == [1, 1, 1]


def test_weights_between_two_networks_are_those_of_rift():
    """Golden value of RiFT's interpolation."""
    pair = [torch.nn.Linear(2, 1, bias=False) for _ in range(2)]
    with torch.no_grad():
        pair[0].weight.copy_(torch.tensor([[1.0, -0.5]]))
        pair[1].weight.copy_(torch.tensor([[1.2, -0.1]]))
    mixed = between_weights(*pair, 0.3).weight
    assert torch.allclose(mixed, torch.tensor([[1.06, -0.38]]))
    assert torch.equal(between_weights(*pair, 0.0).weight, pair[0].weight)
    with pytest.raises(InputError):
        between_weights(pair[0], torch.nn.Linear(3, 1, bias=False), 0.5)


def test_half_precision_is_kept_in_half_the_bytes_and_read_back(base, tmp_path):
    assert repair([str(base), "--stage", "half", "--out", str(tmp_path / "out")]) == 0
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (base, tmp_path / "out")]
    assert sizes[1] < 0.6 * sizes[0]
    run, before = load_run(tmp_path / "out"), load_run(base)
    for ours, theirs in zip(run.model.parameters(), before.model.parameters(), strict=True):
        assert ours.dtype == torch.float32 and torch.equal(ours, theirs.half().float())
    again = evaluate(run.model, run.data.test, *run.attacks, seed=stream(0, "test"))
    assert np.array_equal(again.ok, run.evaluation.ok)


def test_the_head_alone_is_tuned_and_classes_weigh_the_same():
    """One step on all samples without an attack, by hand, on 90 samples of one class and 10 of each other."""
    x, y = points(300)
    few = torch.cat([torch.where(y == c)[0][: 90 if c == 0 else 10] for c in range(3)])
    split = Split(x[few], y[few], 1.0, torch.arange(len(few)))
    model = Nearest()
    step = HeadTune.Params(epochs=1, lr=0.5, steps=1, batch_size=1000)
    tuned, losses = tuned_head(model, split, 0.0, step, seed=0)
    error = model(split.images).softmax(1) - torch.nn.functional.one_hot(split.labels, 3)
    mean = torch.stack([error[split.labels == c].mean(0) for c in range(3)]).mean(0)
    torch.testing.assert_close(model.head.bias - tuned.head.bias, 0.5 * mean, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(mean, error.mean(0), rtol=0.1), "weights by numbers would be seen"

    params = HeadTune.Params(epochs=20, lr=0.5, steps=3, batch_size=20)
    tuned, losses = tuned_head(model, split, 0.05, params, seed=0)
    again, repeated = tuned_head(model, split, 0.05, params, seed=0)
    assert losses[-1] < losses[0] and all(p.requires_grad for p in tuned.parameters())
    assert repeated == losses and torch.equal(again.head.weight, tuned.head.weight)
    assert losses != tuned_head(model, split, 0.05, params, seed=1)[1]
    with pytest.raises(InputError, match="head"):
        tuned_head(torch.nn.Linear(2, 3), split, 0.05, params, seed=0)


@pytest.mark.parametrize(
    "words",
    [["--stage", "head_norm"], ["--stage", "interpolate", "--budget", "100"], ["--stage", "head_tune"]],
)
def test_other_stages_leave_runs_too(words, base, tmp_path):
    if "interpolate" in words:
        other = tmp_path / "natural"
        assert train.main([*WORDS, "--method", "natural", "--out", str(other)]) == 0
        words = [*words, "--to", str(other)]
    assert repair([str(base), *words, "--out", str(tmp_path / "out")]) == 0
    run, before = load_run(tmp_path / "out"), load_run(base)
    assert run.settings.stage["name"] == words[1]
    assert not torch.equal(run.model.head.weight, before.model.head.weight)
    state = json.loads((tmp_path / "out" / "result.json").read_text())["state"]
    if (
        words[1] == "interpolate"
    ):  # with any loss of robustness allowed, it goes where natural errors are fewest
        assert state["share"] > 0
    elif words[1] == "head_norm":
        assert len(state["head_norms"]) == 10
    else:
        assert len(state["losses"]) == 1
        names = [
            k for k, v in run.model.state_dict().items() if not torch.equal(v, before.model.state_dict()[k])
        ]
        assert names == ["head.weight", "head.bias"]


def points(n, classes=3, seed=0):
    """Return points around the centres of classes, the last class wide, and their classes."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    centre = torch.stack([torch.cos(2.1 * y), torch.sin(2.1 * y)], 1)
    wide = torch.where(y == classes - 1, 0.14, 0.05)[:, None]
    return (0.5 + 0.2 * centre + wide * torch.randn(n, 2, generator=rng)).clamp(0, 1), y


class Nearest(torch.nn.Module):
    """The nearest centre of three, as logits, in a linear layer of a name of choice."""

    def __init__(self, name="head"):
        super().__init__()
        angle = 2.1 * torch.arange(3)
        centres = 0.5 + 0.2 * torch.stack([torch.cos(angle), torch.sin(angle)], 1)
        layer = torch.nn.Linear(2, 3)
        with torch.no_grad():
            layer.weight.copy_(20 * centres)
            layer.bias.copy_(-10 * centres.square().sum(1))
        setattr(self, name, layer)
        self.name = name

    def forward(self, x):
        return getattr(self, self.name)(x)


def test_a_model_of_a_user_is_repaired_and_audited_on_other_samples():
    model = Nearest()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    left = deep.repair(model, *points(600), eps=0.04, budget=5, test=points(900, seed=1), progress=False)
    worst = [float(a.errors().rates("robust_error").max()) for a in (left.before, left.after)]
    assert worst[1] < worst[0] - 0.1 and left.offsets[2] == max(left.offsets) and left.weight > 0
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert isinstance(left.model, Nearest) and "95 % interval" in left.table().header
    spent = left.after.errors().average("robust_error") - left.before.errors().average("robust_error")
    assert spent < 0.08


@pytest.mark.parametrize("kind", ["layer of another name", "function", "two outputs"])
def test_a_model_without_a_head_gets_its_offsets_behind_it(kind):
    module = Nearest("last")
    models = {
        "layer of another name": (module, None),
        "function": (lambda x: module(x), None),
        "two outputs": (lambda x: (x, module(x)), 1),
    }
    model, output = models[kind]
    x, y = points(150)
    left = deep.repair(model, x, y, eps=0.04, budget=5, progress=False, output=output)
    assert isinstance(left.model, Shifted)
    expected = module(x).double() + torch.tensor(left.offsets)
    assert torch.allclose(left.model(x).double(), expected, atol=1e-4)


def test_two_threats_are_withstood_together():
    x, y = points(150)
    one, two = (
        deep.repair(Nearest(), x, y, eps, norm, progress=False)
        for eps, norm in ((0.04, "linf"), ((0.04, 0.06), ("linf", "l2")))
    )
    assert float(two.controls.rows[0][1]) >= float(one.controls.rows[0][1])


@pytest.mark.parametrize(
    "wrong", [{"budget": -1}, {"steps": 0}, {"eps": "nine"}, {"norm": "l7"}, {"y": "few"}, {"x": "outside"}]
)
def test_a_call_that_makes_no_sense_is_refused(wrong):
    x, y = points(60)
    x = x + 2 if wrong.pop("x", "") else x
    y = torch.zeros_like(y) if wrong.pop("y", "") else y
    with pytest.raises(InputError):
        deep.repair(Nearest(), x, y, **{"eps": 0.04, "progress": False} | wrong)
