"""Bitkin for ann-benchmarks: the folder goes to `ann_benchmarks/algorithms/bitkin` of a checkout of it."""

import shutil
import tempfile

import bitkin
import numpy as np

from ..base.module import BaseANN


def packed(X):
    """Codes of the rows of X, which are bits: truth values, or numbers that are 0 or 1."""
    return np.packbits(np.asarray(X).astype(bool), axis=-1, bitorder="little")


class Bitkin(BaseANN):
    def __init__(self, metric):
        if metric != "hamming":
            raise NotImplementedError(f"Bitkin finds neighbours by hamming distance, not {metric}")
        self.name = "Bitkin"
        self._budget = None
        self._folder = None

    def fit(self, X):
        self._folder = tempfile.mkdtemp(prefix="bitkin-")
        self._db = bitkin.open(f"{self._folder}/rows.bitkin", durability="none")
        self._rows = self._db.create_collection("rows", bits=max(8, np.shape(X)[1]))
        for start in range(0, len(X), 100_000):
            self._rows.insert(None, packed(X[start : start + 100_000]))
        self._rows.compact()

    def set_query_arguments(self, candidates):
        """candidates: rows that a query may be compared with; 0 for as many as an exact answer takes."""
        self._budget = candidates or None
        self.name = f"Bitkin(candidates={candidates})" if candidates else "Bitkin(exact)"

    def query(self, q, n):
        ids, _ = self._rows.search(packed(q), n, budget=self._budget, threads=1)
        ids = ids[0]
        return ids[ids != bitkin.NO_ID]

    def batch_query(self, X, n):
        ids, _ = self._rows.search(packed(X), n, budget=self._budget)
        self.res = [row[row != bitkin.NO_ID] for row in ids]

    def get_batch_results(self):
        return self.res

    def get_additional(self):
        sizes = self._rows.stats()
        return {"segments": sizes["segments"], "bytes_on_disk": sizes["bytes"]["total"]}

    def done(self):
        if self._folder is not None:
            self._db.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
