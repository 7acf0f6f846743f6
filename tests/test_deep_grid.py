"""Many runs from one file."""

import json
import os
import random
import re
import signal
import sys
import threading
import time
import types

import pytest

from deep import compare, grid, train

PLAN = """
seed = [0, 1]
epochs = 2
steps = 2
eval-steps = 2
width = 4
train-per-class = 10
test-per-class = 5
val-per-class = 5
batch-size = 32

[method.natural]

[method.trades]
beta = [1.5, 6]
epochs = 1

[dataset.digits]
epochs = 3
"""


def write(folder, text=PLAN):
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def expanded(text, tmp_path):
    return [job.arguments for job in grid.read_plan(write(tmp_path, text), tmp_path)]


def test_a_file_is_expanded(tmp_path):
    words = expanded(PLAN, tmp_path)
    assert len(words) == 2 + 4 == len(set(words))
    natural = [w for w in words if "--method=natural" in w]
    assert all("--epochs=3" in w and "--dataset=digits" in w for w in natural)  # the table beats the top
    trades = [w for w in words if "--method=trades" in w]
    assert {tuple(x for x in w if x.startswith(("--beta", "--seed"))) for w in trades} == {
        (f"--seed={s}", f"--beta={b}") for s in (0, 1) for b in (1.5, 6)
    }
    assert all("--epochs=1" in w for w in trades)  # and the method beats the data set
    assert all(any(x.startswith("--threads=") for x in w) for w in words)  # the same on every machine


def test_the_first_seed_comes_first(tmp_path):
    text = 'seed = [7, 2]\nmethod = ["pgd", "natural"]'
    order = [tuple(x for x in w if x.startswith(("--seed", "--method"))) for w in expanded(text, tmp_path)]
    assert order == [(f"--seed={s}", f"--method={m}") for s in (7, 2) for m in ("pgd", "natural")]


def test_a_method_may_have_several_tables(tmp_path):
    text = "[[method.trades]]\nbeta = [1, 6]\n[[method.trades]]\nbeta = 2\nepochs = 3\nseed = 5\n[method.pgd]"
    runs = expanded(text, tmp_path)
    assert [sorted({"--beta=2", "--epochs=3", "--seed=5"} & {*w}) for w in runs].count(
        ["--beta=2", "--epochs=3", "--seed=5"]
    ) == 1
    assert len(runs) == 4 and sum("--method=pgd" in w for w in runs) == 1


def test_names_of_methods_may_be_a_list_and_equal_runs_are_one(tmp_path):
    assert len(expanded('method = ["pgd", "natural"]\nseed = [3, 3]', tmp_path)) == 2
    assert len(expanded('method = "pgd"', tmp_path)) == 1
    assert len(expanded("", tmp_path)) == 1  # all defaults


class Script(grid.Job):
    """A run that is any program, where importing torch in each would take the time."""

    def command(self, *more):
        return [sys.executable, "-c", *self.arguments, *more]


def scripts(folder, *programs):
    return [Script(f"job {i}", (text,), folder / str(i)) for i, text in enumerate(programs)]


def test_runs_go_as_many_at_a_time_as_asked(tmp_path, capfd):
    """Each waits until there are two; with one slot they would wait for ever."""
    wait = (
        "import pathlib, time\np = pathlib.Path({0!r})\np.joinpath('{1}.here').touch()\n"
        "while len([*p.glob('*.here')]) < 2: time.sleep(0.01)"
    )
    jobs = scripts(tmp_path, *(wait.format(str(tmp_path), i) for i in range(2)), "print('out'); 1 / 0")
    assert grid.run_here(jobs, 2) == 1
    lines = sorted(line.split(" ", 1)[1] for line in capfd.readouterr().out.splitlines())
    assert "job 0: done" in lines[0] and "job 1: done" in lines[1]
    assert "job 2: FAILED" in lines[2] and "ZeroDivisionError" in lines[2]
    assert (tmp_path / "2.log").read_text().startswith("Traceback") or "out" in (
        tmp_path / "2.log"
    ).read_text()


def test_an_interruption_stops_what_runs_and_starts_no_more(tmp_path):
    sleep = (
        "import signal, time, pathlib\nsignal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "try:\n  pathlib.Path({0!r}).touch(); time.sleep(60)\n"
        "except KeyboardInterrupt: print('told')"
    )
    jobs = scripts(tmp_path, sleep.format(str(tmp_path / "started")), "print('never')")

    def interrupt():
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as theory.common.cli.run does
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            grid.run_here(jobs, 1)
    finally:
        signal.signal(signal.SIGTERM, before)
        thread.join()
    assert (tmp_path / "0.log").read_text() == "told\n" and not (tmp_path / "1.log").exists()


def counts(text):
    """Return how many runs of a grid are done, begun and new."""
    return [int(re.search(rf"(\d+) {word}", text)[1]) for word in ("done", "begun", "new")]


def test_a_grid_skips_what_is_done_and_goes_on_with_what_is_begun(invoke, monkeypatch, tmp_path):
    plan, out = (
        write(tmp_path, PLAN.replace("[1.5, 6]", "1.5").replace("seed = [0, 1]", "")),
        tmp_path / "runs",
    )
    code, text, _ = invoke(grid.main, plan, "--out", out, "--dry-run")
    assert code == 0 and counts(text) == [0, 0, 2] and not out.exists()
    done, begun = grid.read_plan(plan, out)
    assert train.main([*done.arguments]) == 0
    assert train.main([*begun.arguments, "--stop-after", "0"]) == 0
    code, text, _ = invoke(grid.main, plan, "--out", out, "--dry-run")
    assert counts(text) == [1, 1, 0] and f"--out={begun.folder}" in text
    given = []

    def run_here(jobs, slots):
        given.append(slots)
        return sum(train.main([*job.arguments]) for job in jobs)

    monkeypatch.setattr(grid, "run_here", run_here)
    before = (done.folder / "result.json").stat().st_mtime_ns
    code, text, err = invoke(grid.main, plan, "--out", out, "--jobs", "2")
    assert code == 0 and given == [1] and re.search("1 finished.* 0 failed", text)
    assert (done.folder / "result.json").stat().st_mtime_ns == before
    code, text, _ = invoke(grid.main, plan, "--out", out)
    assert code == 0 and counts(text) == [2, 0, 0] and text.count("\n") == 1
    assert invoke(compare.main, out, "--each-protocol")[0] == 0


def test_slurm_gets_the_commands(invoke, refuses, monkeypatch, tmp_path):
    plan, out, given = write(tmp_path), tmp_path / "runs", {}

    class Executor:
        def __init__(self, folder):
            given["folder"] = folder

        def update_parameters(self, **options):
            if "bad" in options:
                raise NameError("Unknown argument 'bad'")
            given["options"] = options

        def batch(self):
            return open(os.devnull)

        def submit(self, function):
            given.setdefault("commands", []).append(function)
            return types.SimpleNamespace(job_id=f"7_{len(given['commands'])}")

    stub = types.ModuleType("submitit")
    stub.AutoExecutor, stub.helpers = Executor, types.SimpleNamespace(CommandFunction=lambda command: command)
    monkeypatch.setitem(sys.modules, "submitit", stub)
    options = ["--slurm", "timeout_min=600", "slurm_partition=gpu"]
    code, text, _ = invoke(grid.main, plan, "--out", out, *options)
    assert code == 0 and "7_6" in text and given["folder"] == str(out / "slurm")
    assert given["options"] == {"name": "deep.grid", "timeout_min": 600, "slurm_partition": "gpu"}
    assert given["commands"] == [job.command() for job in grid.read_plan(plan, out)]
    refuses_after(invoke, plan, out, "bad=1", "Unknown argument")
    refuses_after(invoke, plan, out, "=1", "timeout_min=600")
    monkeypatch.setitem(sys.modules, "submitit", None)
    refuses_after(invoke, plan, out, "a=1", "robust-fairness[slurm]")


def refuses_after(invoke, plan, out, option, says):
    code, _, err = invoke(grid.main, plan, "--out", out, "--slurm", option)
    assert code == 2 and says in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "text, says",
    [
        ("seed = [", "TOML"),
        ("seed = []", "empty"),
        ("seed = [[1]]", "seed"),
        ("magic = 1", "--magic"),
        ("[method.magic]", "magic"),
        ("[method.pgd]\nbeta = 1", "--beta"),
        ("method = 3", "method"),
        ("[method]\npgd = 1", "method"),
        ("out = 'x'", "belongs to deep.grid"),
        ("stop-after = 1", "belongs to deep.grid"),
        ("help = true", "belongs to deep.grid"),
        ("lr = -1", "--lr"),
        ("lr = 2020-01-01", "lr"),
        ("seed = [" + "0," * 200 + "]\nsteps = [" + "1," * 200 + "]", "10000"),
    ],
)
def test_a_wrong_file_is_refused(refuses, tmp_path, text, says):
    refuses(grid.main, write(tmp_path, text), "--dry-run", says=["plan.toml", says])


def test_a_missing_file_is_refused(refuses, tmp_path):
    refuses(grid.main, tmp_path / "none.toml", says=["none.toml"])
    (tmp_path / "noise.toml").write_bytes(b"\xff\xfe\x00")
    refuses(grid.main, tmp_path / "noise.toml", says=["noise.toml"])


def test_a_damaged_file_is_refused_in_one_sentence(invoke, tmp_path):
    """Random characters replaced, removed and repeated; what is still a plan is shown."""
    rng, codes = random.Random(0), []
    for _ in range(1000 if os.environ.get("THOROUGH") else 100):
        text = [*PLAN]
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(text))
            text[place] = rng.choice(["", text[place] * 2, rng.choice('=[]{}"-.#\n0a,\x00é')])
        code, out, err = invoke(
            grid.main, write(tmp_path, "".join(text)), "--dry-run", "--out", tmp_path / "runs"
        )
        codes.append(code)
        assert code in (0, 2) and (code == 0 or (out == "" and len(err.strip().splitlines()) == 1)), text
    assert codes.count(2) > 0.2 * len(codes) and not (tmp_path / "runs").exists()


def test_starting_weights_may_depend_on_the_seed(invoke, tmp_path):
    small = PLAN.split("[method")[0].replace("epochs = 2", "epochs = 1")
    for seed in (0, 1):
        (job, *_) = grid.read_plan(write(tmp_path, small.replace("[0, 1]", str(seed))), tmp_path)
        assert (
            train.main([*(w for w in job.arguments if "--out" not in w), f"--out={tmp_path / f'hot-{seed}'}"])
            == 0
        )
    jobs = grid.read_plan(write(tmp_path, small + f'init = "{tmp_path}/hot-{{seed}}"'), tmp_path)
    recipes = set()
    for seed, job in enumerate(jobs):
        assert train.main([*job.arguments]) == 0
        config = json.loads((job.folder / "config.json").read_text())
        hot = json.loads((tmp_path / f"hot-{seed}" / "config.json").read_text())
        assert config["settings"]["init"]["run"] == hot["id"]
        recipes.add(config["settings"]["init"]["recipe"])
    assert len(recipes) == 1  # so that runs of several seeds are one protocol
