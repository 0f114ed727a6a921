"""Collections to test with, and the obvious way to search them."""

import bitkin
import numpy as np
import pytest


@pytest.fixture
def random():
    return np.random.default_rng(1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "test.bitkin"


@pytest.fixture
def db(path):
    with bitkin.open(path) as database:
        yield database


@pytest.fixture
def col(db):
    return db.create_collection("c", bits=64)


class Oracle:
    """What a collection must hold, and what must be found in it."""

    def __init__(self, ids, codes):
        order = np.argsort(ids)
        self.ids = np.asarray(ids, dtype=np.uint64)[order]
        self.codes = codes[order]

    def ranked(self, query):
        """Ids and distances of all rows by (distance, id)."""
        distances = np.unpackbits(self.codes ^ query, axis=1).sum(axis=1, dtype=np.uint32)
        order = np.lexsort((self.ids, distances))
        return self.ids[order], distances[order]

    def nearest(self, queries, k):
        ids = np.full((len(queries), k), bitkin.NO_ID, dtype=np.uint64)
        distances = np.full((len(queries), k), bitkin.NO_DISTANCE, dtype=np.uint32)
        for row, query in enumerate(queries):
            found, away = self.ranked(query)
            ids[row, : len(found[:k])] = found[:k]
            distances[row, : len(found[:k])] = away[:k]
        return ids, distances

    def within(self, queries, r):
        lists = [self.ranked(query) for query in queries]
        lists = [(ids[distances <= r], distances[distances <= r]) for ids, distances in lists]
        offsets = np.cumsum([0] + [len(ids) for ids, _ in lists])
        return (
            np.concatenate([ids for ids, _ in lists]),
            np.concatenate([distances for _, distances in lists]),
            offsets,
        )


@pytest.fixture
def oracle():
    return Oracle
