"""Training from Python on tensors."""

import pytest
import torch
from method_setup import teachers_of

import deep
from deep.methods import METHODS
from theory.common.inputs import InputError


def samples(n=120, classes=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    centres = torch.rand(classes, 8, generator=rng)
    return (centres[y] + 0.05 * torch.randn(n, 8, generator=rng)).clamp(0, 1).reshape(n, 1, 2, 4), y


def network(classes=3):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, classes)
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_a_network_of_the_user(method):
    x, y = samples()
    model = network()
    before = model[1].weight.clone()
    settings = {"method": method, "teachers": teachers_of(method, network()), "eps": "2/255"}
    left = deep.train(model, x, y, validation=samples(30, seed=0), epochs=2, batch_size=30, **settings)
    assert not torch.equal(before, model[1].weight) and len(left.history) == 2
    assert left.errors.n == (10, 10, 10) and not left.model.training


def test_training_learns_and_seeds_are_kept():
    x, y = samples()
    runs = [
        deep.train(network(), x, y, validation=(x, y), eps=0.01, epochs=15, batch_size=30, lr=0.5, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert runs[0].errors.average("robust_error") < 0.1
    weights = [run.model[1].weight for run in runs]
    assert torch.equal(*weights[:2]) and not torch.equal(*weights[1:])


WRONG = {
    "method": ({"method": "magic"}, "magic"),
    "params": ({"params": {"beta": 1.0}}, "beta"),
    "eps": ({"eps": "nine"}, "nine"),
    "attack": ({"method": "bat", "train_attack": "nfgsm"}, "nfgsm"),
    "recipe": ({"speed": 3}, "speed"),
    "teacher": ({"method": "mtard"}, "robust-teacher"),
    "other teacher": ({"teachers": {"robust_teacher": network()}}, "robust_teacher"),
    "batch": ({"batch_size": 1000}, "1000"),
    "classes": ({"classes": ["a", "b"]}, "classes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_refused(name):
    given, word = WRONG[name]
    x, y = samples()
    with pytest.raises(InputError, match=word):
        deep.train(network(), x, y, **{"validation": (x, y), "epochs": 1, "batch_size": 30} | given)


def test_tensors_that_do_not_fit_are_refused():
    x, y = samples()
    for wrong in ((2 * x, y), (x, y[:-1]), (x, y.float()), (x, y + 1)):
        with pytest.raises(InputError):
            deep.train(network(), *wrong, validation=(x, y), epochs=1, batch_size=30)
