"""The module for ann-benchmarks, called as its runner calls it, over a stand-in of its base class."""

import importlib.util
import pathlib
import sys
import types

import numpy as np
import pytest

MODULE = pathlib.Path(__file__).parents[3] / "benches/ann-benchmarks/bitkin/module.py"


class BaseANN:
    """What ann-benchmarks 2024 lets an algorithm inherit, and calls."""

    def done(self):
        pass

    def get_additional(self):
        return {}

    def __str__(self):
        return self.name


@pytest.fixture
def algorithm(monkeypatch):
    for name in ["ann_benchmarks", "ann_benchmarks.algorithms", "ann_benchmarks.algorithms.base"]:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    base = types.ModuleType("ann_benchmarks.algorithms.base.module")
    base.BaseANN = BaseANN
    monkeypatch.setitem(sys.modules, base.__name__, base)
    name = "ann_benchmarks.algorithms.bitkin.module"
    spec = importlib.util.spec_from_file_location(name, MODULE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Bitkin


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_as_its_runner_calls_it(algorithm, random, kind):
    train = random.integers(0, 2, (2000, 100)).astype(kind)
    test = random.integers(0, 2, (20, 100)).astype(kind)
    expected = np.sort((test[:, None] != train[None]).sum(axis=2), axis=1)[:, :10]
    algo = algorithm("hamming")
    algo.fit(train)
    for candidates in [0, 10**6, 50]:
        algo.set_query_arguments(candidates)
        found = [algo.query(query, 10) for query in test]
        algo.batch_query(test, 10)
        together = algo.get_batch_results()
        for query, ids, also, nearest in zip(test, found, together, expected):
            distances = [int((query != train[row]).sum()) for row in ids]
            assert distances == sorted(distances) and ids.tolist() == also.tolist()
            if candidates != 50:
                assert distances == nearest.tolist()
    assert str(algo) == "Bitkin(candidates=50)"
    assert algo.get_additional()["segments"] == 1
    algo.done()
    algo.done()


def test_other_metrics_are_refused(algorithm):
    with pytest.raises(NotImplementedError, match="hamming"):
        algorithm("euclidean")
