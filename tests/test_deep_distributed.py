"""Several processes that train one network."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_processes import Normalised, attacked, by_method, trained

from deep import train
from deep.data.distributed import World
from deep.methods import METHODS
from deep.methods.base import Context
from deep.training.checkpoint import load_state

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return the states of two processes that trained together."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *sys.path])
    processes = [
        subprocess.Popen(
            [sys.executable, HERE / "two_processes.py", folder], env=os.environ | common | {"RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [p.wait(timeout=120) for p in processes] == [0, 0]
    return [load_state(folder / f"{rank}.safetensors") for rank in range(2)]


def tensors(value):
    """Return the tensors of a part of a state."""
    return [*value.values()] if isinstance(value, dict) else [value] if torch.is_tensor(value) else []


def flat(state):
    return torch.cat([v.flatten() for v in state["model"].values()])


def test_two_processes_train_as_one(pair):
    alone = trained(World())
    first, second = (states["plain"] for states in pair)
    assert max(alone["history"][2]["phi_bndy"]) > 0  # there is something to agree on
    for name in ("phi_nat", "phi_bndy", "log_margin"):
        assert torch.equal(first["method"][name], second["method"][name])
        assert torch.equal(first["method"][name], alone["method"][name])
    assert torch.equal(flat(first), flat(second))
    torch.testing.assert_close(flat(first), flat(alone), rtol=1e-10, atol=1e-10)
    for quantity in ("natural_error", "robust_error"):
        assert [a[quantity] for a in first["history"]] == [b[quantity] for b in alone["history"]]
    for a, b in zip(first["history"], alone["history"], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-6)  # the sum over an epoch is in single precision
    for a, b in zip(first["generators"], alone["generators"], strict=True):
        assert torch.equal(a, b)  # so that either may go on from the other's checkpoint


@pytest.mark.parametrize("kind", ["nfgsm", "free"])
def test_attacks_of_one_step_are_those_of_the_whole_batch(pair, kind):
    alone = attacked(World(), kind)
    first, second = (states[kind] for states in pair)
    assert torch.equal(flat(first), flat(second))
    torch.testing.assert_close(flat(first), flat(alone), rtol=1e-10, atol=1e-10)
    if kind == "free":  # so that either may go on from the other's checkpoint
        assert first["free"].shape == (40, 1, 8, 8) and bool(first["free"][-1].any())
        assert torch.equal(first["free"], second["free"]) and torch.equal(first["free"], alone["free"])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_on_two_processes_as_on_one(pair, name):
    """But for those that pair samples within the part of a process, which say so: both then still agree."""
    first, second = (states[f"method {name}"] for states in pair)
    assert torch.equal(flat(first), flat(second))
    assert first["method"].keys() == second["method"].keys()
    for key, value in first["method"].items():
        for a, b in zip(*(tensors(states["method"][key]) for states in (first, second)), strict=True):
            assert torch.equal(a, b), (key, value)
    alone = by_method(World(), name)
    if name in ("classmix", "iat", "ibp"):
        assert "the part of each" in sys.modules[METHODS[name].__module__].__doc__.replace("\n", " ")
        assert not torch.allclose(flat(first), flat(alone))
    else:
        torch.testing.assert_close(flat(first), flat(alone), rtol=1e-7, atol=1e-7)


def test_batch_statistics_and_averages_agree_after_each_epoch(pair):
    first, second = (states["normalised"] for states in pair)
    assert torch.equal(flat(first), flat(second)) and "layers.1.running_mean" in first["model"]
    for name, value in first["average"].items():
        assert torch.equal(value, second["average"][name])
    alone = trained(World(), Normalised, ema=0.9)
    assert not torch.allclose(flat(first), flat(alone))  # half a batch has other statistics


def test_the_comparison_would_notice_a_process_that_trains_alone():
    """One that takes its half of each batch and averages nothing ends elsewhere."""

    class Deaf(World):
        def total(self, value):
            return value * self.size

        def first(self, value):
            return value

    alone, deaf = (flat(trained(world)) for world in (World(), Deaf(0, 2)))
    assert float((alone - deaf).abs().max()) > 1e-3


def test_parts_are_the_whole():
    for size in (1, 2, 3):
        parts = [list(range(6))[World(rank, size).part(6)] for rank in range(size)]
        assert sum(parts, []) == list(range(6))


def test_noise_is_that_of_the_batch_whatever_the_number_of_processes():
    """And the next batch has other noise, the same in every process."""

    def drawn(world, n):
        context = Context(10, 0.1, 1, torch.Generator().manual_seed(3), world=world)
        return [context.noise(n).uniform((2, 3)) for _ in range(2)]

    whole = drawn(World(), 6)
    assert not torch.equal(*whole) and len(whole[0].unique()) > 30
    for size in (2, 3):
        parts = [drawn(World(rank, size), 6 // size) for rank in range(size)]
        for batch, of_ranks in zip(whole, zip(*parts, strict=True), strict=True):
            assert torch.equal(torch.cat(of_ranks), batch)


def test_a_batch_that_cannot_be_divided_is_refused(refuses, monkeypatch, tmp_path):
    monkeypatch.setattr(World, "join", classmethod(lambda cls, device: cls(0, 3)))
    monkeypatch.setattr(World, "leave", lambda self: None)
    refuses(train.main, "--batch-size", "64", "--out", tmp_path, says=["multiple of 3", "64"])
    monkeypatch.undo()
    monkeypatch.setenv("WORLD_SIZE", "many")
    refuses(train.main, "--out", tmp_path, says=["torchrun"])
    assert list(tmp_path.iterdir()) == []
