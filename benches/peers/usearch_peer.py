"""usearch: bits under the Hamming metric, by exact search and by HNSW."""

import os

import numpy as np
import usearch
from usearch.index import Index, MetricKind, search


class Usearch:
    def __init__(self, bits, dir, threads, params):
        self.bits, self.file = bits, os.path.join(dir, "index")
        self.set(threads, params)

    @staticmethod
    def version():
        return usearch.__version__

    def set(self, threads, params):
        self.threads, self.params = threads, params


class Exact(Usearch):
    def build(self, rows):
        self.rows = np.array(rows)

    def search(self, queries, k):
        found = search(self.rows, queries, k, MetricKind.Hamming, exact=True, threads=self.threads)
        return found.keys.reshape(len(queries), -1)


class Hnsw(Usearch):
    def make(self):
        return Index(ndim=self.bits, metric=MetricKind.Hamming, dtype="b1")

    def build(self, rows):
        self.index = self.make()
        self.index.add(np.arange(len(rows)), np.ascontiguousarray(rows), threads=self.threads)

    def set(self, threads, params):
        super().set(threads, params)
        if hasattr(self, "index"):
            self.index.expansion_search = params.get("ef", 64)

    def search(self, queries, k):
        if len(queries) == 1:
            return self.index.search(queries[0], k, threads=self.threads).keys.reshape(1, -1)
        return self.index.search(queries, k, threads=self.threads).keys

    def delete(self, ids):
        self.index.remove(ids, threads=self.threads)

    def index_bytes(self):
        return self.index.memory_usage

    def save(self):
        self.index.save(self.file)

    def load(self):
        self.index = self.make()
        self.index.view(self.file)

    def make_writable(self):
        self.index.load(self.file)  # What is only viewed cannot be changed.
