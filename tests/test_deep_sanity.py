"""Reading a run back, the sanity checks with networks that must fail them, and the report."""

import dataclasses
import hashlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from deep import report, sanity, train
from deep.attacks.ball import Ball
from deep.attacks.binarised import features, last_layer, plant
from deep.attacks.evaluate import Attack, evaluate, reported
from deep.attacks.noise import Noise
from deep.runs.reload import load_run
from deep.strength import checks
from deep.strength.check_results import Check
from deep.strength.checks import Subject
from theory.results.flags import Evaluation
from theory.results.records import setting_id

SMALL = ["--epochs", "6", "--steps", "4", "--width", "8", "--test-per-class", "5", "--eps", "0.1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a small run."""
    out = tmp_path_factory.mktemp("runs") / "pgd"
    assert train.main(["--method", "pgd", *SMALL, "--out", str(out)]) == 0
    return out


@pytest.fixture
def folder(finished, tmp_path):
    """Return a copy of it that may be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize("method", ["natural", "trades", "frl"])
def test_a_run_is_read_back_as_it_was(tmp_path, method):
    argv = ["--method", method, "--epochs", "2", "--width", "4", "--test-per-class", "6", "--eval-steps", "3"]
    train.main([*argv, "--train-per-class", "20", "--eps", "1/8", "--out", str(tmp_path)])
    run = load_run(tmp_path)
    assert run.settings.method == method and run.settings.eps == "1/8" and not run.model.training
    again = evaluate(run.model, run.data.test, *run.attacks, seed=train.stream(0, "test"))
    assert (again.ok == run.evaluation.ok).all() and again.attacks == run.evaluation.attacks
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(v, weights[k]) for k, v in run.model.state_dict().items())


def config(change, *, named=False):
    """Change config.json, its id as if it were meant where that is ``named``."""

    def damage(folder):
        path = folder / "config.json"
        content = json.loads(path.read_text())
        change(content)
        if named:
            content["id"] = setting_id(content["settings"])
            (folder / "result.json").write_text(json.dumps({"id": content["id"]}))
        path.write_text(json.dumps(content))

    return damage


def settings(**changed):
    return config(lambda c: c["settings"].update(changed), named=True)


def split(change):
    def damage(folder):
        path = folder / "split.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content) + "\n")

    return damage


def weights(change, *, named=True):
    """Change the weights, as if by a version that did not name their hash where that is not ``named``."""

    def damage(folder):
        result = json.loads((folder / "result.json").read_text())
        if not named:
            del result["sha256"]
        (folder / "result.json").write_text(json.dumps(result))
        path = folder / "model.safetensors"
        content = safetensors.torch.load_file(path)
        change(content)
        safetensors.torch.save_file(content, path)

    return damage


def result(folder, **changed):
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def truncated(name, keep):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:keep])

    return damage


def flags(**change):
    def damage(folder):
        e = Evaluation.read(folder / "flags.npz")
        parts = {"attacks": e.attacks, "index": e.index, "labels": e.labels, "ok": e.ok} | change
        (folder / "flags.npz").write_bytes(Evaluation(**parts).to_bytes())

    return damage


DAMAGES = {
    "no result": lambda f: (f / "result.json").unlink(),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "no flags": lambda f: (f / "flags.npz").unlink(),
    "result is a folder": lambda f: ((f / "result.json").unlink(), (f / "result.json").mkdir()),
    "result is binary": lambda f: (f / "result.json").write_bytes(b"\xff\xfe\x00"),
    "result is a list": lambda f: (f / "result.json").write_text("[]"),
    "result cut": truncated("result.json", 300),
    "weights cut": truncated("model.safetensors", 1000),
    "weights empty": truncated("model.safetensors", 0),
    "flags cut": truncated("flags.npz", 100),
    "result of another": lambda f: (f / "result.json").write_text('{"id": "another"}'),
    "no config": lambda f: (f / "config.json").unlink(),
    "config is binary": lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"),
    "config cut": truncated("config.json", 300),
    "no settings": config(lambda c: c.pop("settings")),
    "settings are text": config(lambda c: c.update(settings="x")),
    "no id": config(lambda c: c.pop("id")),
    "other seed": config(lambda c: c["settings"].update(seed=1)),
    "width is another": config(lambda c: c["settings"].update(width=4)),
    "another width is meant": settings(width=4),
    "params is text": settings(params="x"),
    "other method": settings(method="magic"),
    "method is a list": settings(method=["pgd"]),
    "width is text": settings(width="wide"),
    "width is an object": settings(width={"a": 1}),
    "lr is nan": settings(lr="nan"),
    "a flag is smuggled in": settings(out="/tmp"),
    "help is smuggled in": settings(params={"help": True}),
    "another run is smuggled in": settings(resume="/tmp"),
    "other data": config(lambda c: c.update(data_sha256="0")),
    "no data": config(lambda c: c.pop("data_sha256")),
    "another split": config(lambda c: c.update(split_sha256="0")),
    "no split": lambda f: (f / "split.json").unlink(),
    "split cut": truncated("split.json", 300),
    "an image less": split(lambda s: s["train"].pop()),
    "images in another order": split(lambda s: s["val"].reverse()),
    "the index of flags is another": flags(index=np.arange(50)),
    "weights are others": weights(lambda w: w["head.bias"].add_(1e-3)),
    "weights of another run": lambda f: shutil.copy(f / "flags.npz", f / "model.safetensors"),
    "a hash is no text": lambda f: result(f, sha256=[]),
    "a hash is another's": lambda f: result(f, sha256={"best.safetensors": "0"}),
    "a weight is missing": weights(lambda w: w.pop("head.bias"), named=False),
    "a weight too many": weights(lambda w: w.update(more=torch.zeros(1)), named=False),
    "another shape": weights(lambda w: w.update({"head.bias": torch.zeros(3)}), named=False),
    "another type": weights(
        lambda w: w.update({"head.bias": torch.zeros(10, dtype=torch.float64)}), named=False
    ),
    "not finite": weights(lambda w: w["head.bias"].fill_(float("nan")), named=False),
    "flags of others": flags(labels=np.zeros(50, np.int64)),
    "flags of other attacks": flags(attacks=("clean", "A", "B")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_refused(refuses, folder, damage):
    DAMAGES[damage](folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    refuses(sanity.main, folder, says=[str(folder)])
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


def test_bad_flags_are_refused(refuses, finished, tmp_path):
    refuses(sanity.main, tmp_path, says=["config.json"])
    refuses(sanity.main, finished, "--data-dir", tmp_path, says=["embedded"])
    refuses(sanity.main, finished, "--device", "abacus", says=["abacus"])
    refuses(report.main, finished, "--eps", "2", says=["2"])
    refuses(report.main, finished, "--attacks", "magic", says=["magic", "targeted"])
    refuses(report.main, finished, "--out", finished / "result.json", says=["result.json"])
    refuses(
        report.main, finished, "--steps", 1, "--against", tmp_path, "--out", tmp_path / "o", says=["config"]
    )
    refuses(report.main, finished, "--against", finished, "--out", tmp_path / "o", says=["evaluation.npz"])


def test_a_report_is_not_paired_with_one_of_other_data(refuses, finished, folder):
    config(lambda c: c.update(data_sha256="0"))(folder)
    refuses(report.main, finished, "--steps", 1, "--against", folder, says=["other data", str(folder)])


def test_a_result_that_does_not_name_its_weights_is_told(finished, folder):
    assert load_run(finished).warnings == ()
    weights(lambda w: None, named=False)(folder)
    (told,) = load_run(folder).warnings
    assert str(folder) in told and "model.safetensors" in told
    for name in ("model", "best"):
        content = (finished / f"{name}.safetensors").read_bytes()
        named = json.loads((finished / "result.json").read_text())["sha256"][f"{name}.safetensors"]
        assert hashlib.sha256(content).hexdigest() == named


def test_a_sound_run_passes(invoke, folder):
    code, out, err = invoke(sanity.main, folder, "--queries", 50, "--per-class", 3)
    assert code == 0 and "all checks passed" in out, out + err
    found = json.loads((folder / "sanity.json").read_text())
    names = {check["name"].split()[0] for check in found["checks"]}
    assert found["passed"] and set("abcdefghi") <= names
    assert all(len(check["per_class"]) == 10 for check in found["checks"])


def test_flags_that_are_not_those_of_the_network_fail(invoke, folder, monkeypatch):
    monkeypatch.setattr(sanity, "every_check", lambda subject: iter([checks.reproduced(subject)]))
    assert invoke(sanity.main, folder)[0] == 0
    e = Evaluation.read(folder / "flags.npz")
    flags(ok=e.ok & (np.arange(50) % 4 > 0))(folder)
    code, out, _ = invoke(sanity.main, folder)
    assert code == 1 and out.endswith("failed: reproduced\n")


class Masked(nn.Module):
    """A network behind a step function: gradients are 0, attacks that follow them do nothing."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(torch.round(x * 16) / 16)


class Drowned(nn.Module):
    """A network with logits so large that the gradient of the cross-entropy underflows."""

    def __init__(self, model):
        super().__init__()
        self.model, self.head = model, model.head

    def forward(self, x):
        return 1e4 * self.model(x)


def subject(finished, model=None, **settings):
    run = load_run(finished)
    wrapped = SimpleNamespace(
        settings=run.settings,
        data=run.data,
        model=run.model if model is None else model(run.model).eval(),
        attacks=reported(Attack(0.3, "0.3", 10, **settings)),
        evaluation=run.evaluation,
    )
    return Subject.of(wrapped, 5, 200)


@pytest.mark.filterwarnings("ignore::theory.common.inputs.DoubtWarning")
@pytest.mark.parametrize("name", ["black_box", "random_search", "zero_gradient", "binarised"])
def test_masked_gradients_fail(finished, name):
    found = getattr(checks, name)(subject(finished, Masked))
    assert not found.passed, found
    assert found.overall > 0 and found.row()[1] == "FAIL"


class Deaf(nn.Module):
    """A network that says 3 whatever it sees: samples of that class are robust to everything."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return 0 * self.model(x) + torch.eye(10)[3]


@pytest.mark.filterwarnings("ignore::theory.common.inputs.DoubtWarning")
def test_robustness_to_everything_fails(finished):
    found = checks.unbounded(subject(finished, Deaf))
    assert not found.passed and found.per_class["3"] == 1.0 and found.overall == 0.1
    assert checks.unbounded(subject(finished)).passed


def test_features_that_say_nothing_fail(finished):
    """No adversarial example can be planted: the test of the attack has not been made."""

    class Blank(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.head = model.head

        def forward(self, x):
            return self.head(0 * x.flatten(1)[:, : self.head.in_features])

    assert not checks.binarised(subject(finished, Blank)).passed
    assert checks.binarised(subject(finished)).passed


def test_saturated_gradients_fail(finished):
    assert not checks.zero_gradient(subject(finished, Drowned)).passed
    assert checks.zero_gradient(subject(finished)).passed


def test_short_steps_fail(finished, monkeypatch):
    monkeypatch.setattr(checks, "PLATEAU", (1, 10))
    """A random start and steps that cannot cross the ball: one long step is better, more steps help."""
    weak = subject(finished, step=0.002)
    assert not checks.one_step(weak).passed
    assert not checks.plateau(weak).passed


def test_an_attack_that_fails_at_larger_radii_fails(finished):
    class Fading(Attack):
        def answers(self, model, x, y, clean, noise):
            small = Attack(min(self.eps, 0.5 - self.eps), "", 10)
            return small.answers(model, x, y, clean, noise)

    fading = subject(finished)
    both = (Fading(0.25, "", 10), Fading(0.25, "", 10, objective="targeted"))
    fading = dataclasses.replace(fading, attacks=both)
    assert not checks.monotone(fading).passed
    assert checks.monotone(subject(finished)).passed


def test_batch_statistics_fail(finished):
    """A network that normalises by the batch even in evaluation mode."""

    class Relative(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            out = self.model(x)
            return out - 5 * out.mean(0) if len(out) < 20 else out

    assert not checks.zero_radius(subject(finished, Relative)).passed
    assert checks.zero_radius(subject(finished)).passed


def test_a_weak_attack_fails_on_the_linear_network(finished):
    weak = subject(finished)
    both = (Attack(0.1, "", 2, step=0.1), Attack(0.1, "", 2, step=0.1, objective="targeted"))
    weak = dataclasses.replace(weak, attacks=both)
    bound, exact = checks.linear_oracle(weak)
    assert bound.passed and not exact.passed


def test_an_attack_that_cheats_fails_on_the_linear_network(finished):
    class Cheat(Attack):
        def answers(self, model, x, y, clean, noise):
            return Attack(2 * self.eps, "", 20).answers(model, x, y, clean, noise)

    cheat = subject(finished)
    both = (Cheat(0.1, "", 20), Attack(0.1, "", 20, objective="targeted"))
    cheat = dataclasses.replace(cheat, attacks=both)
    bound, exact = checks.linear_oracle(cheat)
    assert not bound.passed and exact.passed


def test_checks_count_classes_too():
    """Five of a hundred in one class pass, six do not; overall one in a hundred."""
    labels = np.repeat(np.arange(10), 100)

    def check(amiss, strict=False):
        flags = np.zeros(1000, bool)
        flags[list(amiss)] = True
        return Check("x", "y", flags, labels, "abcdefghij", strict)

    assert check(range(5)).passed and not check(range(6)).passed
    assert check(range(0, 1000, 100)).passed and not check(range(0, 1000, 90)).passed
    assert not check([3], strict=True).passed and check([], strict=True).passed
    assert check(range(6)).per_class["a"] == 0.06 and "6.0 (a)" in check(range(6)).row()


def test_planted_examples_are_there(finished):
    """The corner of each solvable problem is class 1, the sample is class 0, and PGD finds class 1."""
    run = load_run(finished)
    x = run.data.test.inputs(slice(0, 30))
    ball, noise = Ball(x, torch.full((30,), 0.1)), Noise.of(0, torch.arange(30))
    planted, solvable = plant(run.model, ball, noise, points=20)
    assert solvable.float().mean() > 0.8
    direction = noise.fork(20).uniform(x.shape[1:]) - 0.5
    corner = ball.project(x + 0.2 * direction.sign())
    with torch.no_grad():
        assert (planted(corner).argmax(1) == 1)[solvable].all() and (planted(x).argmax(1) == 0).all()
        torch.testing.assert_close(
            last_layer(run.model)(features(run.model, last_layer(run.model), x)), run.model(x)
        )
    assert planted.found(ball, ball.eps / 4, 20, noise)[solvable].float().mean() > 0.9
    assert planted.found(Ball(x, 0 * ball.eps), ball.eps / 4, 3, noise).float().mean() == 0
    with pytest.raises(ValueError, match="linear"):
        last_layer(nn.ReLU())


def test_a_report_is_complete_and_resumable(invoke, finished, tmp_path, monkeypatch):
    out = tmp_path / "report"
    argv = [finished, "--attacks", "pgd", "targeted", "--steps", 3, "--batch-size", 20, "--out", out]
    code, text, _ = invoke(report.main, *argv)
    assert code == 0 and "warning: 3 steps" in text and "each attack alone" in text
    names = ["evaluation.npz", "report.csv", "report.json", "report.md", "report.tex"]
    assert sorted(p.name for p in out.iterdir()) == names
    found = Evaluation.read(out / "evaluation.npz")
    said = json.loads((out / "report.json").read_text())
    assert sum(said["robust_error"]["errors"]) == (~found.ok_attacked).sum() and len(said["warnings"]) == 2
    before = {n: (out / n).read_bytes() for n in names if n != "report.json"}
    calls = []
    whole = Attack.answers

    def stops(self, *rest):
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(self, *rest)

    monkeypatch.setattr(Attack, "answers", stops)
    shutil.rmtree(out)
    assert invoke(report.main, *argv)[0] == 130 and len(list((out / "shards").iterdir())) == 1
    assert invoke(report.main, *argv)[0] == 0
    assert len(calls) == 4 + 4  # two batches of two attacks were left
    assert {n: (out / n).read_bytes() for n in before} == before


def test_a_report_may_be_of_fewer_samples(invoke, finished, tmp_path):
    for few in ([], ["--per-class", 3]):
        assert invoke(report.main, finished, *few, "--out", tmp_path / f"{len(few)}")[0] == 0
    whole, part = (Evaluation.read(tmp_path / f"{n}" / "evaluation.npz") for n in (0, 2))
    assert np.bincount(part.labels).tolist() == [3] * 10
    places = np.sort(np.concatenate([np.flatnonzero(whole.labels == c)[:3] for c in range(10)]))
    np.testing.assert_array_equal(part.index, whole.index[places])
    np.testing.assert_array_equal(part.ok, whole.ok[:, places])


def test_two_networks_are_compared_on_the_same_samples(invoke, refuses, finished, tmp_path):
    other = tmp_path / "natural"
    assert invoke(train.main, "--method", "natural", *SMALL, "--out", other)[0] == 0
    assert invoke(report.main, other, "--attacks", "pgd")[0] == 0
    code, text, _ = invoke(
        report.main, finished, "--attacks", "pgd", "--against", other, "--out", tmp_path / "out"
    )
    row = next(line for line in text.splitlines() if line.startswith("average, robust"))
    assert code == 0 and row.endswith("yes") and "-" in row.split("|")[3]
    refuses(
        report.main,
        finished,
        "--attacks",
        "margin",
        "--against",
        other,
        "--out",
        tmp_path,
        says=["same attacks"],
    )
