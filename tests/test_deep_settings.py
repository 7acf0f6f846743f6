"""Settings check themselves, are read from JSON, and radii count by their values."""

import dataclasses
import datetime
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from deep.methods import METHODS
from deep.runs.command_line import parse, words_of
from deep.runs.folder import origin, read_config
from deep.runs.place import Place, resumed, run_of
from deep.runs.reload import load_run
from deep.runs.settings import Settings
from theory.common.inputs import InputError
from theory.results.protocols import comparisons
from theory.results.records import read_records

train = importlib.import_module("deep.train")
RECORDS = Path(__file__).parent.parent / "paper_figs" / "records"
SMALL = {"epochs": 1, "steps": 1, "eval_steps": 1, "width": 2, "train_per_class": 5, "threads": 1}
SMALL |= {"test_per_class": 3, "val_per_class": 3, "batch_size": 32}
IDS = {
    "": "b2ef2e467643",
    "--method frl": "4f4cd372f78c",
    "--method trades --beta 1.5": "f28eb597e251",
    "--preset cpu --dataset cifar10 --seed 3": "7f2f3f0f93ea",
    "--preset cpu-long --dataset svhn": "018bb107def5",
    "--train-attack free --epochs 3": "6e02c1a604e9",
    "--train-attack nfgsm --train-noise 1": "0937f4420571",
    "--eps 0.15 --method natural": "358846ca2bd1",
    "--dataset mnist --eps 0.3": "96f3436745d0",
    "--nesterov --lr-warmup 0.3 --schedule one-cycle": "ce5c9c057358",
    "--imbalance 10 --ema 0.9 --amp all --channels-last": "cc3b3168ff96",
    "--method cfa --base trades": "575d9b940c0a",
    "--preset cpu --no-nesterov --dataset cifar10": "7db189cadb01",
    "--compile --threads 3": "d1239c21b3ef",
    "--method bat": "463ab20e2087",
    "--imbalance 1": "b2ef2e467643",
    "--method wat --report best": "6a203404ab1a",
}
"""Names of command lines as they were before settings checked themselves, with one thread."""


@pytest.mark.parametrize("words", IDS)
def test_names_of_runs_stay(words):
    threads = [] if "--threads" in words else ["--threads=1"]
    assert parse([*words.split(), *threads])[0].id == IDS[words]


def test_names_of_committed_runs_stay():
    """Of every run whose hyper-parameters and setting are in its records."""
    seen = 0
    for file in RECORDS.glob("*/*/records.jsonl"):
        record = json.loads(file.read_text().splitlines()[0])
        if record["source"] == "deep" and not {"init", "stage"} & {*record["setting"]}:
            given = {k: v for k, v in record["setting"].items() if k not in ("n_train", "eps_text")}
            given |= {
                "eps": record["setting"]["eps_text"],
                "method": record["method"],
                "seed": record["seed"],
            }
            seen += Settings.from_json(given).id == file.parent.name
    assert seen > 100


def test_settings_of_python_are_those_of_the_command_line():
    made = Settings(method="frl", params={"cap": 0.1, "variant": "both"}, seed=3, threads=1)
    argv = ["--method", "frl", "--cap", "0.1", "--variant", "both", "--seed", "3", "--threads", "1"]
    assert made == parse(argv)[0] and made.params.beta is not None
    assert Settings.from_json(json.loads(json.dumps(made.as_json()))) == made
    given = {"method": "frl", "cap": 0.1, "variant": "both", "seed": 3, "threads": 1}
    assert run_of(given)[0] == made and parse(words_of(given))[0] == made
    assert Settings(params=METHODS["pgd"].Params(), threads=1) == Settings(threads=1)


def test_numbers_become_what_they_are_of():
    made = Settings(method="trades", params={"beta": 6}, lr=1, seed=np.int64(2), eps=0.15, threads=1)
    assert repr(made.params.beta) == "6.0" and repr(made.lr) == "1.0" and type(made.seed) is int
    assert (
        made.eps == "0.15"
        and made.id == parse(["--method=trades", "--lr=1", "--seed=2", "--eps=0.15", "--threads=1"])[0].id
    )
    assert Settings(imbalance=1, threads=1) == Settings(threads=1)


WRONG = [
    *({"method": "magic"}, {"method": 3}, {"method": ["pgd"]}, {"dataset": "imagenet"}, {"dataset": None}),
    *({"model": "vgg"}, {"model": 1}, {"width": 0}, {"width": 2.0}, {"width": "4"}, {"width": True}),
    *({"epochs": 0}, {"epochs": "3"}, {"batch_size": 1}, {"lr": 0}, {"lr": "0.1"}, {"lr": float("nan")}),
    *({"lr": True}, {"weight_decay": -1}, {"schedule": "steep"}, {"ema": 1}, {"ema": -0.1}, {"amp": "low"}),
    *({"amp": None}, {"channels_last": 1}, {"compile": "yes"}, {"eps": "2"}, {"eps": "8/0"}, {"eps": -0.1}),
    *({"eps": []}, {"eps": True}, {"steps": 0}, {"step_size": 0}, {"step_size": 1e300}, {"eval_steps": 0}),
    *({"val_every": 0}, {"select": "best"}, {"report": "first"}, {"init": "run"}, {"init": {"run": "a"}}),
    *({"train_per_class": 0}, {"val_per_class": -1}, {"test_per_class": 1.5}, {"imbalance": 0.5}),
    *({"padding": "mirror"}, {"padding": "zero"}, {"threads": 0}, {"threads": 4096}, {"seed": -1}),
    *({"seed": 2**63}, {"seed": None}, {"train_attack": "fgsm"}, {"train_noise": -1}, {"train_reach": "x"}),
    *({"replays": 0}, {"replays": 3}, {"attack_batch_norm": "off"}, {"eps_warmup": 2}, {"nesterov": None}),
    *({"decay": "some"}, {"lr_warmup": 0.2}, {"label_smoothing": 1}, {"crop": 65}, {"on_collapse": "end"}),
    *({"schedule": "one-cycle", "lr_warmup": w} for w in (0, 1, "x")),
    *({"train_eps": "2"}, {"train_eps": "x"}, {"params": 1}, {"params": {"beta": 6}}, {"params": []}),
    *({"method": "trades", "params": {"beta": b}} for b in ("x", True, None, -1, [1])),
    *({"method": "frl", "params": {"variant": v}} for v in ("none", 1)),
    *({"method": "frl", "params": METHODS["trades"].Params()}, {"method": "faal", "params": {"literal": 1}}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError) as caught:
        Settings(**wrong)
    assert "\n" not in str(caught.value)
    if "init" not in wrong:
        with pytest.raises(InputError):
            Settings.from_json(wrong)


def test_what_is_allowed_is_not_refused():
    """The other side of the refusals."""
    for right in (
        *(
            {"seed": 2**63 - 1},
            {"threads": 1024},
            {"ema": 0.999},
            {"eps": "0"},
            {"eps": "1"},
            {"width": 1024},
        ),
        *({"train_attack": "free"}, {"dataset": "cifar10", "padding": "zero", "crop": 0}),
        *({"schedule": "one-cycle", "lr_warmup": 0.5}, {"imbalance": 10}, {"train_per_class": None}),
    ):
        made = Settings(**right)
        assert Settings.from_json(made.as_json()) == made


@pytest.mark.parametrize(
    "given",
    [
        *({"speed": 1}, {"cap": 0.1}, {"params": {}}, {"data_dir": 3}, {"download": 1}, {"out": ["a"]}),
        *({"device": "abacus"}, {"device": 0}, {"stop_after": -1}, {"tensorboard": "x"}, {"preset": "gpu"}),
        *(
            {"preset": ["cpu"]},
            {"init": "/nonexistent"},
            {"seed": datetime.date(2020, 1, 1)},
            {"lr": {"a": 1}},
        ),
    ],
    ids=str,
)
def test_flags_given_by_name_are_checked(given):
    with pytest.raises(InputError):
        run_of(given)


@pytest.mark.parametrize("one, other", [("8/255", "16/510"), ("0.15", "0.150"), ("0.15", "15/100")])
def test_a_radius_counts_by_its_value_in_the_name_of_a_run(one, other):
    first, second = (Settings(eps=e, threads=1) for e in (one, other))
    assert first.id == second.id and (first.eps, second.eps) == (one, other)
    assert Settings(eps="0.151", threads=1).id != first.id
    trained = [Settings(eps="0.1", train_eps=e, threads=1) for e in (one, other)]
    assert trained[0].id == trained[1].id != Settings(eps="0.1", threads=1).id
    assert Settings(eps=one, train_eps=other, threads=1) == first  # the default, so it is not given


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of runs at a radius in two spellings, and at another training radius."""
    folder = tmp_path_factory.mktemp("runs")
    for name, more in {
        "a": {"eps": "8/255"},
        "b": {"eps": "16/510", "method": "natural"},
        "c": {"eps": "8/255", "train_eps": "0.2"},
    }.items():
        assert train.main(words_of({**SMALL, **more, "out": str(folder / name)})) == 0
    return folder


def test_the_training_radius_is_its_own_setting(runs):
    plain, other = (read_config(runs / name) for name in "ac")
    assert "train_eps" not in plain["settings"] and other["settings"]["train_eps"] == "0.2"
    assert plain["id"] != other["id"]
    records = [read_records(runs / name / "records.jsonl") for name in "ac"]
    assert "train_eps" not in records[0][0].setting
    assert records[1][0].setting["train_eps"] == 0.2 and records[1][0].setting["eps"] == 8 / 255
    assert records[0][0].attack == records[1][0].attack  # tests attack at --eps
    weights = [(runs / name / "model.safetensors").read_bytes() for name in "ac"]
    assert weights[0] != weights[1]
    assert len(comparisons([*records[0], *records[1]])) == 2


def test_the_attack_of_training_has_the_training_radius():
    settings = Settings(eps="0.1", train_eps="0.3", threads=1, val_per_class=3, train_per_class=5)
    place = run_of({"device": "cpu", "out": "x"})[1]
    data = train.data_of(settings, place)
    trainer = train.trainer_of(settings, place, data, train.World())
    assert trainer.method.context.eps == 0.3 and trainer.attack.eps == 0.1
    plain = train.trainer_of(dataclasses.replace(settings, train_eps=None), place, data, train.World())
    assert plain.method.context.eps == 0.1


def test_runs_of_one_radius_are_one_protocol_and_one_run(runs, invoke, tmp_path):
    records = [r for name in "ab" for r in read_records(runs / name / "records.jsonl")]
    (comparison,) = comparisons(records)
    assert len(comparison.runs) == 2 and "eps=8/255" in comparison.title
    assert read_records(runs / "b" / "records.jsonl")[0].setting["eps_text"] == "16/510"
    assert load_run(runs / "b").settings.eps == "16/510"
    code, text, _ = invoke(train.main, *words_of({**SMALL, "eps": "16/510", "out": str(runs / "a")}))
    assert code == 0 and "is finished" in text
    recipes = [origin(runs / name, "--init")["recipe"] for name in ("a", "b")]
    assert recipes[0] != recipes[1]


def test_a_run_goes_on_in_the_spelling_that_it_has_begun_with(invoke, tmp_path):
    first = {**SMALL, "epochs": 2, "eps": "8/255", "out": str(tmp_path)}
    assert invoke(train.main, *words_of(first | {"stop_after": 1}))[0] == 0
    assert invoke(train.main, *words_of(first | {"eps": "0.03137254901960784"}))[0] == 0
    assert load_run(tmp_path).settings.eps == "8/255"
    (comparison,) = comparisons(read_records(tmp_path / "records.jsonl"))
    assert "eps=8/255" in comparison.title


def test_the_settings_of_a_folder_are_read_as_they_are(runs):
    config = dict(read_config(runs / "a"))
    settings, place = resumed(config, runs / "a")
    assert settings.id == config["id"] and place.out == runs / "a"
    for broken in ({"epochs": "1"}, {"magic": 1}, {"params": None, "lr": 0.2}, {"eps": 1.5}):
        with pytest.raises(InputError, match=r"config\.json"):
            resumed(config | {"settings": {**config["settings"], **broken}}, runs / "a")


def test_a_place_checks_itself():
    assert Place(out="runs").out.name == "runs" and Place(device="cpu").device.type == "cpu"
    for wrong in ({"out": 1}, {"device": "tpu"}, {"device": 1}, {"download": None}, {"stop_after": "1"}):
        with pytest.raises(InputError):
            Place(**wrong)
