"""Methods that learn from finished networks: their rules, and how teachers are named, kept and refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from method_setup import ZA, Half, Net, Twin, Z, batch, close, context, epoch, make, trainer
from torch.nn import functional as F

from deep import grid, promote, repair, train
from deep.data.distributed import World
from deep.methods import absld, fairard, mtard
from deep.methods.trades import divergence
from deep.runs.command_line import parse
from deep.runs.folder import origin, read_config, settings_id
from deep.runs.reload import load_run
from theory.common.inputs import InputError
from theory.results.methods import MethodId
from theory.results.protocols import comparisons
from theory.results.records import read_records

RECORDS = Path(__file__).parent.parent / "paper_figs" / "records"
A = torch.tensor([[1.5, 0.5, -0.5], [0, 0.3, 1.2]], dtype=torch.float64)
"""Logits of a teacher."""


def taught_by(name, *networks, world=None, steps=3, **params):
    """Return a method with teachers, in the order of its flags."""
    kind = {"mtard": mtard.MTARD, "fairard": fairard.FairARD, "absld": absld.ABSLD}[name]
    teachers = dict(zip(kind.teachers, networks, strict=True))
    return make(
        name, context(teachers=teachers, steps=steps, **({"world": world} if world else {})), **params
    )


def frozen(seed):
    return Net(seed=seed).eval().requires_grad_(False)


# MTARD ------------------------------------------------------------------------------------------------------


def test_mtard_golden_values():
    close(divergence(A, ZA).mean() / 3, 0.04840281)
    close(divergence(A, Z).mean() / 3, 0.00852566)
    close(mtard.moved_weight(0.5, torch.tensor([0.8, 1.2]), torch.ones(2), 0.025), 0.5025, 1e-7)
    close(mtard.moved_weight(0.5, torch.tensor([1.6, 1.2]), torch.tensor([2.0, 1.0]), 0.025), 0.5025, 1e-7)
    assert mtard.moved_weight(0.3, torch.tensor([1.0, 2.0]), torch.ones(2), 0.0) == 0.3


def test_mtard_loss_by_hand():
    """Each teacher teaches its own inputs; exchanged, or with the divergence the other way, it is another."""
    robust, natural, model, (x, y) = frozen(5), frozen(6), Net(), batch()
    method = taught_by("mtard", robust, natural)
    method.weight, method.first = 0.4, torch.tensor([1.0, 4.0]).double()
    p, q, r, n = (F.softmax(v, dim=1) for v in (model(x), model(1 - x), robust(1 - x), natural(x)))
    parts = [(r * (r / q).log()).sum(1).mean() / 10, (n * (n / p).log()).sum(1).mean() / 10]
    slow = [float(parts[0].detach()), float(parts[1].detach()) / 4]
    weight = 0.4 - 0.025 * (0.4 - slow[1] / sum(slow))
    expected = (1 - weight) * parts[0] + weight * parts[1]
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    assert method.state() == {"natural_weight": pytest.approx(weight)}
    summed = taught_by("mtard", robust, natural, class_mean=False)
    summed.weight, summed.first = 0.4, torch.tensor([10.0, 40.0]).double()
    torch.testing.assert_close(summed.loss(model, x, y, 1 - x), 10 * expected)
    exchanged = taught_by("mtard", natural, robust)
    exchanged.weight, exchanged.first = 0.4, torch.tensor([1.0, 4.0]).double()
    assert abs(float((exchanged.loss(model, x, y, 1 - x) - expected).detach())) > 1e-3


def test_mtard_balances_the_losses_of_all_processes():
    """Its first losses are kept; a teacher that is learnt slower gets more weight, from either side."""
    method = taught_by("mtard", frozen(5), frozen(6), world=Twin())
    method.balance(torch.tensor([2.0, 3.0]))
    close(method.first, [2.0, 3.0], 0)
    assert method.weight == 0.5
    method.balance(torch.tensor([1.0, 3.0]))
    close(method.first, [2.0, 3.0], 0)
    assert method.weight == pytest.approx(0.5 - 0.025 * (0.5 - 1 / 1.5))
    for _ in range(400):
        method.balance(torch.tensor([1.0, 0.75]))
    assert method.weight == pytest.approx(1 / 3, abs=1e-4)


def test_a_student_that_is_its_teacher_stays():
    """Its loss is 0 and so is its gradient; by other teachers it is moved."""
    model, (x, y) = Net(), batch()
    slopes = []
    for seed in (3, 5):
        method = taught_by("mtard", frozen(seed), frozen(seed))
        loss = method.loss(model, x, y, 1 - x)
        slopes.append(float(torch.autograd.grad(loss, model.layers[1].weight)[0].abs().max()))
        assert (float(loss.detach()) < 1e-12) == (seed == 3) and 0 <= method.weight <= 1
    assert slopes[0] < 1e-9 and slopes[1] > 1e-3


# Fair-ARD ---------------------------------------------------------------------------------------------------


def test_fairard_weights_by_hand():
    """1/100, 4/100 and 16/100, to a sum of 3, cut to 5/6; equal classes or an exponent of 0 weigh alike."""
    close(fairard.weights_of_steps(torch.tensor([10.0, 5, 2.5]), 2.0), [5 / 6, 5 / 6, 16 / 7], 1e-6)
    close(fairard.weights_of_steps(torch.tensor([3.0, 2.0]), 1.0), [5 / 6, 6 / 5], 1e-6)
    close(fairard.weights_of_steps(torch.tensor([9.0, 9.0, 0.0]), 2.0), [5 / 6, 5 / 6, 5 / 2], 1e-6)
    close(fairard.weights_of_steps(torch.zeros(4), 2.0), [1.0] * 4, 1e-6)
    close(fairard.weights_of_steps(torch.tensor([10.0, 5, 2.5]), 0.0), [1.0] * 3, 1e-6)


@pytest.mark.parametrize("variant", ["rslad", "ard"])
def test_fairard_loss_by_hand(variant):
    teacher, model, (x, y) = frozen(5), Net(), batch()
    method = taught_by("fairard", teacher, variant=variant)
    method.weights = torch.linspace(0.8, 1.7, 10)
    T = 30.0 if variant == "ard" else 1.0
    p, q, t = (F.softmax(v / T, dim=1) for v in (model(x), model(1 - x), teacher(x)))
    attacked, clean = ((t * (t / v).log()).sum(1) for v in (q, p))
    each = 900 * attacked if variant == "ard" else (5 * attacked + clean) / 6
    expected = (method.weights[y] * each).mean() / 10
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    summed = taught_by("fairard", teacher, variant=variant, class_mean=False)
    summed.weights = method.weights
    torch.testing.assert_close(summed.loss(model, x, y, 1 - x), 10 * expected)
    method.weights = torch.ones(10)
    assert abs(float((method.loss(model, x, y, 1 - x) / expected).detach()) - 1) > 0.05


@pytest.mark.parametrize("variant", ["rslad", "ard"])
def test_fairard_counts_the_steps_that_each_class_withstands(variant):
    """Against the attack of fewer and fewer steps, whose ends are the iterates; it ascends its own loss."""
    teacher, model, (x, y) = frozen(5), Net(), batch()
    method = taught_by("fairard", teacher, steps=4, variant=variant)
    ends = [taught_by("fairard", teacher, steps=k, variant=variant).attack(model, x, y) for k in range(5)]
    adv = method.attack(model, x, y)
    assert torch.equal(adv, ends[4])
    assert (float((ends[0] - x).abs().max()) < 0.01) == (variant == "rslad")  # the starts of the two
    right = torch.stack([model(v).argmax(1) == y for v in ends[:4]]).double().sum(0)
    means = torch.stack([right[y == c].mean() for c in range(10)])
    assert 0 < means.min() + means.max() and means.min() < means.max()
    method.on_epoch_end(epoch(0))
    close(method.weights, fairard.weights_of_steps(means, 2.0), 1e-6)
    assert not method.sums.any() and method.state()["weights"] == method.weights.tolist()

    def raised(v):
        loss = divergence(teacher(x), model(v)) if variant == "rslad" else F.cross_entropy(model(v), y)
        return float(loss.mean().detach())

    assert raised(adv) > raised(ends[2]) > raised(ends[0])


def test_fairard_weighs_by_what_all_processes_have_counted():
    model, x, sent = Net(), batch(40)[0], {}
    y = model(x).argmax(1)  # so that the start is right
    worlds = (World(), Half(0, sent), Half(1, sent))
    whole, *parts = (taught_by("fairard", frozen(5), world=world, steps=4) for world in worlds)
    whole.attack(model, x, y)
    for rank, part in enumerate(parts):
        half = World(rank, 2).part(40)
        part.attack(model, x[half], y[half])
    torch.testing.assert_close(parts[0].sums + parts[1].sums, whole.sums)
    assert whole.sums[0].any() and not torch.equal(parts[0].sums, parts[1].sums)
    counts = torch.full((10,), 5.0).double()
    for part, right in zip(parts, (torch.linspace(20, 30, 10), torch.linspace(10, 40, 10)), strict=True):
        part.sums = torch.stack([right.double(), counts])
    sent[0] = {rank: part.sums for rank, part in enumerate(parts)}
    expected = fairard.weights_of_steps(torch.linspace(30, 70, 10) / 10, 2.0)
    for part in parts:
        alone = fairard.weights_of_steps(part.sums[0] / 5, 2.0)
        part.on_epoch_end(epoch(0))
        close(part.weights, expected, 1e-6)
        assert float((alone - expected).abs().max()) > 0.05


# ABSLD with a teacher ---------------------------------------------------------------------------------------


def test_absld_learns_the_answers_of_its_teacher():
    """Softened by class; the network itself is evaluated, not its average."""
    teacher, model, (x, y) = frozen(5), Net(), batch()
    method, alone = taught_by("absld", teacher), make("absld")
    for m in (method, alone):
        m.setup(model, 2)
    assert method.eval_model(model) is model and alone.eval_model(model) is alone.average
    method.attacked, method.clean = torch.linspace(0.5, 5, 10), torch.linspace(4, 1, 10)
    expected = 0.0
    for v, temperatures, share in ((1 - x, method.attacked, 5 / 6), (x, method.clean, 1 / 6)):
        target = F.softmax(teacher(x) / temperatures[y][:, None], dim=1)
        expected = expected - share * (target * F.log_softmax(model(v), dim=1)).sum(1).mean()
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    adv, plain = (m.attack(model, x, y) for m in (method, make("pgd")))
    target = F.softmax(teacher(x) / method.attacked[y][:, None], dim=1)
    raised = [-(target * F.log_softmax(model(v), dim=1)).sum(1).mean() for v in (adv, plain, x)]
    assert raised[0] > raised[1] and raised[0] > raised[2]


# teachers of all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "teachers", "passes"), [("mtard", 2, 6), ("fairard", 1, 6), ("absld", 1, 6), ("absld", 0, 6)]
)
def test_teachers_are_left_alone_and_their_passes_counted(name, teachers, passes):
    """Two of an attack of two steps, two of the loss, and two of what teaches."""
    networks = [frozen(seed) for seed in (5, 6)[:teachers]]
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    method = taught_by(name, *networks, steps=2) if networks else make(name, context(steps=2))
    line = trainer(Net(), method, epochs=1).train_epoch()
    assert line["passes"] == passes
    for network, kept in zip(networks, before, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in network.state_dict().items())
        assert not network._forward_pre_hooks and not network.training
    assert not any("teacher" in key for key in method.state_dict())


def test_a_method_without_its_teachers_is_refused():
    with pytest.raises(InputError, match="--robust-teacher"):
        make("mtard")
    with pytest.raises(InputError, match="--natural-teacher"):
        make("mtard", context(teachers={"robust_teacher": Net()}))
    for name, wrong in (("mtard", {"rate": 2.0}), ("fairard", {"exponent": -1.0}), ("absld", {"start": 9.0})):
        with pytest.raises(InputError, match=f"--{next(iter(wrong))}"):
            make(name, **wrong)


TINY = "--epochs 2 --train-per-class 12 --test-per-class 5 --width 4 --steps 2 --eval-steps 2 --threads 1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folders of a natural and a PGD run that are finished."""
    root = tmp_path_factory.mktemp("teachers")
    for name in ("natural", "pgd"):
        assert train.main(["--method", name, *TINY.split(), "--out", str(root / name)]) == 0
    return root


@pytest.fixture
def runs(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "runs")


def asked(runs, *more):
    teachers = ["--robust-teacher", runs / "pgd", "--natural-teacher", runs / "natural"]
    return ["--method", "mtard", *TINY.split(), *teachers, *more]


def content(folder):
    names = ("best.safetensors", "flags.npz", "model.safetensors")
    return {name: (folder / name).read_bytes() for name in names}


def test_teachers_are_part_of_a_run_and_read_back(runs, invoke, tmp_path):
    """An interrupted run ends as another; its id, records and command name the runs of its teachers."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert invoke(train.main, *asked(runs), "--out", whole)[0] == 0
    assert invoke(train.main, *asked(runs), "--out", parts, "--stop-after", "1")[0] == 0
    assert invoke(train.main, "--resume", parts)[0] == 0
    assert content(parts) == content(whole)
    config, result = read_config(whole), json.loads((whole / "result.json").read_text())
    named = {f"{n}_teacher": origin(runs / m, "") for n, m in (("robust", "pgd"), ("natural", "natural"))}
    assert config["settings"]["teachers"] == named == result["provenance"]["teachers"]
    recipes = {name: run["recipe"] for name, run in named.items()}
    record = read_records(whole)[0]
    assert record.setting["teachers"] == recipes and "teachers" in result["setting"]
    assert {k: MethodId.of_record(record)[k] for k in recipes} == recipes
    assert load_run(whole).settings.method_id == MethodId.of_record(record)
    (comparison,) = comparisons([*read_records(whole), *read_records(runs / "pgd")])
    assert len(comparison.runs) == 2  # one protocol, whose runs differ in their method alone
    words = promote.command(config, whole)
    ids = {name: f"--{name.replace('_', '-')}=runs/deep/{run['run']}" for name, run in named.items()}
    assert {*ids.values()} <= {*words} and str(tmp_path) not in " ".join(words)
    exchanged = [w for w in asked(runs)]
    exchanged[-1], exchanged[-3] = exchanged[-3], exchanged[-1]
    assert parse([*map(str, exchanged)])[0].id != config["id"] == parse([*map(str, asked(runs))])[0].id


def test_a_recipe_is_that_of_every_seed(runs, invoke, tmp_path):
    """The runs of its teachers differ by seed, their recipes do not."""
    out = tmp_path / "out"
    assert invoke(train.main, *asked(runs), "--out", out)[0] == 0
    recipe, config, result = origin(out, "")["recipe"], dict(read_config(out)), out / "result.json"
    for changed, same in (("weights", True), ("run", True), ("recipe", False)):
        settings = json.loads(json.dumps(config["settings"])) | {"seed": 1}
        settings["teachers"]["robust_teacher"][changed] = "another"
        name = settings_id(settings)
        (out / "config.json").write_text(json.dumps(config | {"settings": settings, "id": name}))
        result.write_text(json.dumps(json.loads(result.read_text()) | {"id": name}))
        assert (origin(out, "")["recipe"] == recipe) == same


def test_a_promoted_command_makes_the_run_again(runs, invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke(train.main, *asked(runs), "--out", "run")[0] == 0
    for name in ("pgd", "natural"):
        shutil.copytree(runs / name, tmp_path / "runs" / "deep" / read_config(runs / name)["id"])
    assert invoke(promote.main, "run", "--to", "to", "--network", "small")[0] == 0
    words = read_records(tmp_path / "to" / "small")[0].provenance["argv"]
    assert parse(words[3:])[0].id == read_config(tmp_path / "run")["id"]
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "to").rglob("*.json*"))
    assert load_run(tmp_path / "to" / "small").settings.id == read_config(tmp_path / "run")["id"]
    assert invoke(repair.main, "run", "--stage", "half", "--out", "repaired")[0] == 0
    assert load_run(tmp_path / "repaired").settings.teachers == load_run(tmp_path / "run").settings.teachers


def test_teachers_that_cannot_be_used_are_refused(runs, refuses, invoke, tmp_path):
    out = tmp_path / "out"
    refuses(train.main, *asked(runs)[:-2], "--out", out, says=["--natural-teacher"])
    refuses(train.main, *asked(runs), "--teacher", runs, "--out", out, says=["--teacher"])
    refuses(train.main, *asked(runs, "--robust-teacher", runs / "no"), says=["--robust-teacher", "no"])
    other = tmp_path / "seed-1"
    assert train.main([*TINY.split(), "--seed", "1", "--out", str(other)]) == 0
    refuses(
        train.main, *asked(runs, "--robust-teacher", other), "--out", out, says=["--robust-teacher", "--seed"]
    )
    damaged = shutil.copytree(runs / "pgd", tmp_path / "damaged")
    shutil.copy(other / "model.safetensors", damaged / "model.safetensors")
    refuses(train.main, *asked(runs, "--robust-teacher", damaged), says=["--robust-teacher", "SHA-256"])
    (damaged / "result.json").unlink()
    refuses(train.main, *asked(runs, "--robust-teacher", damaged), says=["--robust-teacher", "not finished"])


def test_a_teacher_of_other_data_is_refused(runs, refuses, tmp_path):
    images = tmp_path / "own.npz"
    rng = np.random.default_rng(0)
    np.savez(images, x=rng.integers(0, 256, (200, 1, 8, 8), dtype=np.uint8), y=np.arange(200) % 10)
    words = ["--data", images, "--scale", "255", "--eps", "8/255", *TINY.split()[:2], "--width", "4"]
    refuses(
        train.main,
        *("--method", "fairard", *words, "--robust-teacher", runs / "pgd", "--out", tmp_path / "out"),
        says=["--robust-teacher", "digits", "own:"],
    )


def test_a_plan_names_the_teachers_of_each_seed(finished, tmp_path, monkeypatch):
    """The committed one: the folder of a teacher has the seed in its name."""
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        for name, kind in (("natural", "natural"), ("trades", "pgd")):
            shutil.copytree(finished / kind, tmp_path / "runs" / "teachers" / f"{name}-{seed}")
    plan = RECORDS / "distillation.toml"
    jobs = grid.read_plan(plan, tmp_path)
    assert len(jobs) == 18 and "18 runs" in plan.read_text()
    words = {word for job in jobs for word in job.arguments}
    assert {f"--natural-teacher=runs/teachers/natural-{seed}" for seed in range(3)} <= words


def test_a_teacher_that_was_moved_is_asked_for(runs, refuses, invoke, tmp_path):
    """With its flag; the command that names where it is now goes on, one with other weights does not."""
    out, moved = tmp_path / "out", tmp_path / "moved"
    assert invoke(train.main, *asked(runs), "--out", out, "--stop-after", "1")[0] == 0
    (runs / "pgd").rename(moved)
    refuses(train.main, "--resume", out, says=["--robust-teacher", str(runs / "pgd")])
    shutil.copytree(runs / "natural", runs / "pgd")
    refuses(train.main, "--resume", out, says=["--robust-teacher", "other weights"])
    config = json.loads((out / "config.json").read_text())
    for wrong in (None, [1], {"robust_teacher": 1}):
        (out / "config.json").write_text(json.dumps(config | {"teachers": wrong}))
        refuses(train.main, "--resume", out, says=["teacher"])
    (out / "config.json").write_text(json.dumps(config))
    again = asked(runs, "--robust-teacher", moved, "--out", out)
    code, _, err = invoke(train.main, *again)
    assert code == 0, err
