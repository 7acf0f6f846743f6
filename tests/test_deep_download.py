"""Downloading, from a local server: only when asked, from the first place that has the right file."""

import dataclasses
import gzip
import hashlib
import io
import os
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from deep import train
from deep.data import DATASETS, load
from deep.data.raw_files import Download
from theory.common.inputs import InputError


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked for."""

    def __init__(self, *args, asked, **kwargs):
        self.asked = asked
        super().__init__(*args, **kwargs)

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder: (the folder, its address, the list of what was asked for)."""
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    root, asked = tmp_path / "served", []
    root.mkdir()
    handler = partial(Handler, directory=str(root), asked=asked)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield root, f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()
        thread.join()


def records(n):
    rows = np.random.default_rng(0).integers(0, 256, (n, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(n) % 10
    return rows.tobytes()


def members(**more):
    files = {f"cifar-10-batches-bin/data_batch_{i}.bin": records(20) for i in range(1, 6)}
    return files | {"cifar-10-batches-bin/test_batch.bin": records(10)} | more


def tar(files):
    """Return a compressed archive; a value that is a text is a symbolic link there."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname, content = tarfile.SYMTYPE, content, b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def publish(server, monkeypatch):
    """Return a function that publishes an archive of CIFAR-10 at some of its places."""
    root, address, _ = server

    def make(archive, places=("good",), wrong=()):
        for place in (*places, *wrong):
            (root / place).mkdir()
            (root / place / "cifar.tar.gz").write_bytes(archive if place in places else b"<html>quota</html>")
        urls = tuple(f"{address}/{place}/cifar.tar.gz" for place in ("absent", "bad", "good"))
        item = Download("cifar.tar.gz", hashlib.md5(archive).hexdigest(), urls)
        spec = DATASETS["cifar10"]
        files = dataclasses.replace(
            spec.files, train_counts=(10,) * 10, test_counts=(1,) * 10, downloads=(item,)
        )
        monkeypatch.setitem(DATASETS, "cifar10", dataclasses.replace(spec, files=files))

    return make


def fetch(folder, name="cifar10", download=True):
    sizes = {"seed": 0, "val": 1, "train": None, "test": None, "device": torch.device("cpu")}
    return load(name, folder, download=download, **sizes)


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def test_mirrors_are_tried_in_turn_and_nothing_is_fetched_twice(publish, server, tmp_path):
    _, _, asked = server
    publish(tar(members()), wrong=["bad"])
    folder = tmp_path / "data"
    data = fetch(folder)
    assert len(data.train) == 90 and len(data.test) == 10
    assert asked == ["/absent/cifar.tar.gz", "/bad/cifar.tar.gz", "/good/cifar.tar.gz"]
    assert tree(folder) == [f"cifar-10-batches-bin/{n}" for n in (
        "cifar.tar.gz", *(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")]  # fmt: skip
    assert fetch(folder).sha256 == fetch(folder, download=False).sha256 == data.sha256
    (folder / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    assert fetch(folder).sha256 == data.sha256  # from the archive that is there
    assert len(asked) == 3


def test_nothing_is_fetched_unless_asked_for(publish, server, tmp_path):
    _, _, asked = server
    publish(tar(members()))
    with pytest.raises(InputError, match="--download fetches it"):
        fetch(tmp_path, download=False)
    assert asked == [] and not (tmp_path / "cifar-10-batches-bin").exists()


def test_local_files_are_never_replaced(publish, server, tmp_path):
    _, _, asked = server
    publish(tar(members()))
    own = {f"data_batch_{i}.bin": records(20)[:-1] + b"\1" for i in range(1, 6)}
    for name, content in own.items():
        (tmp_path / name).write_bytes(content)
    fetch(tmp_path)  # the test images are missing
    assert all((tmp_path / name).read_bytes() == content for name, content in own.items())
    assert len((tmp_path / "test_batch.bin").read_bytes()) == 10 * 3073 and asked


def test_when_every_place_fails_each_is_named(publish, tmp_path, server, monkeypatch):
    publish(tar(members()), places=[], wrong=["bad", "good"])
    with pytest.raises(InputError) as refused:
        fetch(tmp_path / "data")
    text = str(refused.value)
    assert len(text.splitlines()) == 1 and all(
        f"/{p}/cifar.tar.gz" in text for p in ("absent", "bad", "good")
    )
    assert "404" in text and "hash" in text and tree(tmp_path / "data") == []
    item = dataclasses.replace(DATASETS["cifar10"].files.downloads[0], urls=("http://127.0.0.1:9/x",))
    files = dataclasses.replace(DATASETS["cifar10"].files, downloads=(item,))
    monkeypatch.setitem(DATASETS, "cifar10", dataclasses.replace(DATASETS["cifar10"], files=files))
    with pytest.raises(InputError, match="cannot download"):
        fetch(tmp_path / "data")


@pytest.mark.parametrize(
    "evil",
    [
        {"../evil.bin": b"x"},
        {"/evil.bin": b"x"},
        {"cifar-10-batches-bin/evil": "../../.."},
        {"../../test_batch.bin": records(10)},
        {"cifar-10-batches-bin/device.bin": b""},
    ],
)
def test_an_archive_writes_its_data_files_and_nothing_else(publish, tmp_path, evil):
    publish(tar(evil | members()))
    folder = tmp_path / "a" / "b"
    fetch(folder)
    assert len(tree(folder)) == 7
    assert tree(tmp_path / "a") == [f"b/{n}" for n in tree(folder)]


@pytest.mark.parametrize(
    "archive, says",
    [
        (b"", "damaged"),
        (b"no archive", "damaged"),
        (tar(members())[:-20_000], "damaged"),
        (gzip.compress(b"no archive"), "damaged"),
        (tar({"readme.txt": b"x"}), "has no data_batch_1.bin"),
        (
            tar(members() | {"cifar-10-batches-bin/data_batch_2.bin": "/etc/passwd"}),
            "has no data_batch_2.bin",
        ),
        (tar(members() | {"cifar-10-batches-bin/data_batch_2.bin": b"short"}), "data_batch_2.bin is damaged"),
    ],
    ids=["empty", "text", "cut", "no tar", "no data", "link", "short"],
)
def test_a_bad_archive_is_refused(publish, tmp_path, archive, says):
    publish(archive)
    with pytest.raises(InputError, match=says):
        fetch(tmp_path / "data")


def test_single_files_are_fetched_one_by_one(server, tmp_path, monkeypatch):
    root, address, asked = server
    spec = DATASETS["mnist"]
    contents = {}
    for part, n in (("train", 50), ("t10k", 20)):
        header = np.array([0x803, n, 28, 28], ">u4").tobytes()
        contents[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(header + bytes(n * 784))
        labels = (np.arange(n) % 10).astype(np.uint8).tobytes()
        contents[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(
            np.array([0x801, n], ">u4").tobytes() + labels
        )
    items = []
    for name, content in contents.items():
        (root / name).write_bytes(content)
        items.append(Download(name, hashlib.md5(content).hexdigest(), (f"{address}/{name}",)))
    counts = {"train_counts": (5,) * 10, "test_counts": (2,) * 10}
    files = dataclasses.replace(spec.files, downloads=tuple(items), **counts)
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(spec, files=files))
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(gzip.decompress(contents["t10k-labels-idx1-ubyte.gz"]))
    assert len(fetch(tmp_path / "data", "mnist").train) == 40
    assert sorted(asked) == sorted(f"/{n}" for n in contents if n != "t10k-labels-idx1-ubyte.gz")


def test_the_command_line_downloads(invoke, refuses, publish, tmp_path):
    publish(tar(members()))
    small = [
        "--threads",
        "1",
        "--width",
        "2",
        "--epochs",
        "1",
        "--steps",
        "1",
        "--eval-steps",
        "1",
        "--batch-size",
        "30",
    ]
    argv = ["--dataset", "cifar10", "--data-dir", tmp_path / "d", "--val-per-class", "1", *small]
    refuses(train.main, *argv, "--out", tmp_path / "run", says=["not a folder"])
    code, _, err = invoke(train.main, *argv, "--download", "--out", tmp_path / "run")
    assert code == 0 and "Traceback" not in err
    (tmp_path / "file").write_text("kept")
    argv[3] = tmp_path / "file"
    refuses(train.main, *argv, "--download", "--out", tmp_path / "other", says=["file"])
