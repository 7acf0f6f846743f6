"""Which training method a network was made by, as a value: its identity, its base, and its label.

A label is made for a person, once for all methods that are shown together, and never read back: whether a
method is natural training, a base, or FRL's variant "both" is a question to `MethodId`.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from theory.results.records import Record

__all__ = ["MethodId", "bases_of", "labels_of"]

Value = str | float | bool | None
"""A hyper-parameter."""
BASES = ("natural", "pgd", "trades")
"""Methods that treat all classes alike; the others start from one of them."""
ORDER = ("natural", "pgd", "frl", "trades")
"""Methods in the order in which they are shown; others follow."""
ROUNDED = (("name", "half"),)
"""The stage that changes no choice, only how many bits a weight has."""
BETA = 6.0  # the default of TRADES (Zhang et al., 2019, section 5.2: 1 / lambda = 6)


@dataclass(frozen=True)
class MethodId:
    """A training method with its hyper-parameters.

    Args:
        name: as ``--method`` has it, such as frl.
        params: names and values of the hyper-parameters, sorted by name.
        init: the recipe of the run that training starts from, or None.
        stage: what was done to the finished network, such as offsets: its "name" and settings, sorted by
            name; empty if nothing was.

    >>> trades = MethodId.of("trades", {"beta": 6.0})
    >>> trades.is_base, trades.base_name, labels_of([trades])[trades]
    (True, 'pgd', 'TRADES beta=6')
    """

    name: str
    params: tuple[tuple[str, Value], ...] = ()
    init: str | None = None
    stage: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        params: Mapping[str, Value],
        init: str | None = None,
        stage: Mapping[str, Any] | None = None,
    ) -> "MethodId":
        """Return the method of a name with hyper-parameters by name.

        Args:
            name: of the method.
            params: its hyper-parameters.
            init: the recipe that training starts from.
            stage: "name" and "params" of what was done to the finished network.
        """
        after = {"name": stage["name"], **stage["params"]} if stage else {}
        return cls(name, tuple(sorted(params.items())), init, tuple(sorted(after.items())))

    @classmethod
    def of_record(cls, record: Record) -> "MethodId":
        """Return the method that the network of a record was trained by."""
        init = record.setting.get("init")
        stage = record.setting.get("stage")
        params = {**record.setting["params"], **record.setting.get("teachers", {})}
        return cls.of(str(record.method), params, None if init is None else str(init), stage)

    def __getitem__(self, name: str) -> Value:
        """Return a hyper-parameter; None if the method has none of this name."""
        return dict(self.params).get(name)

    @property
    def is_natural(self) -> bool:
        """Return whether there are no adversarial examples in training."""
        return self.name == "natural"

    @property
    def is_base(self) -> bool:
        """Return whether the method treats all classes alike."""
        return self.name in BASES and not self.stage

    @property
    def retrains(self) -> bool:
        """Return whether it is a mitigation that trains, neither a base nor a stage after training."""
        return self.name not in BASES and not self.stage

    @property
    def title(self) -> str:
        """Return the name as it is written."""
        return self.name if self.is_natural else self.name.upper()

    @property
    def base_name(self) -> str | None:
        """Return the name of the method that is left without what this one adds, or None."""
        if self.name in ("natural", "pgd"):
            return None
        if self.name == "trades":
            return "pgd"
        default = "trades" if dict(self.params).keys() & {"beta"} else "pgd"
        return "pgd" if (self["base"] or default) == "pgd" else "trades"

    @property
    def beta(self) -> float:
        """Return the weight of the KL term, that of Zhang et al. (2019) if the method has none."""
        beta = self["beta"]
        return float(beta) if isinstance(beta, (int, float)) else BETA


def bases_of(methods: Collection[MethodId]) -> dict[MethodId, MethodId]:
    """Return the base of each method that has one among these: PGD, or TRADES at the nearest beta.

    That of a stage is the network before it, whose weights may be rounded.
    A method on TRADES is compared with PGD where there is no TRADES, and one on PGD with TRADES where there
    is no PGD.
    """
    pgd = next((m for m in methods if m.name == "pgd" and m.is_base), None)
    trades = [m for m in methods if m.name == "trades" and m.is_base]
    bases = {}
    for method in methods:
        befores = [replace(method, stage=stage) for stage in ((), ROUNDED) if stage != method.stage]
        if method.stage and (before := next((b for b in befores if b in methods), None)):
            bases[method] = before
            continue
        if method.base_name is None:
            continue
        base = pgd
        if trades and method.name != "trades" and (method.base_name == "trades" or pgd is None):
            away = [abs(other.beta - method.beta) for other in trades]
            base = trades[away.index(min(away))]
        if base is not None:
            bases[method] = base
    return bases


def labels_of(methods: Iterable[MethodId]) -> dict[MethodId, str]:
    """Return a label for each of several methods, in the order in which they are shown.

    It has the variant or beta, and of the other hyper-parameters the fewest that tell methods apart.
    """
    short = {method: _short_label(method) for method in dict.fromkeys(methods)}
    labels = {}
    for method, label in short.items():
        namesakes = [
            _values(other)
            for other, its in short.items()
            if (its, _stage_label(other)) == (label, _stage_label(method))
        ]
        differing = _differing(namesakes)
        parts = [label, *(f"{k}={_short(_values(method).get(k))}" for k in differing)]
        labels[method] = " ".join(parts) + _stage_label(method)
    return dict(sorted(labels.items(), key=lambda item: (_place(item[0]), item[1])))


def _place(method: MethodId) -> int:
    return ORDER.index(method.name) if method.name in ORDER else len(ORDER)


def _values(method: MethodId) -> dict[str, Value]:
    """Return the hyper-parameters, what training starts from among them."""
    after = {k: v for k, v in method.stage if k != "name"}
    return dict(method.params) | ({} if method.init is None else {"init": method.init}) | after


def _differing(namesakes: Sequence[Mapping[str, Value]]) -> Sequence[str]:
    """Return the fewest names of hyper-parameters that tell all of several methods of one label apart."""
    names = sorted({k for t in namesakes for k in t if any(t.get(k) != other.get(k) for other in namesakes)})
    for size in range(len(names) + 1):
        for chosen in itertools.combinations(names, size):
            if len({tuple(repr(t.get(k)) for k in chosen) for t in namesakes}) == len(namesakes):
                return chosen
    return names


def _short_label(method: MethodId) -> str:
    params = dict(method.params)
    parts = [method.title, str(params["variant"])] if "variant" in params else [method.title]
    if params.get("base") == "pgd":
        return " ".join([*parts, "pgd"])
    if "beta" in params and "variant" not in params:
        parts.append(f"beta={_short(params['beta'])}")
    return " ".join(parts)


def _stage_label(method: MethodId) -> str:
    return f" + {dict(method.stage)['name']}" if method.stage else ""


def _short(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
