"""FAISS: its four indexes of binary codes."""

import math
import os

import faiss
import numpy as np


class Faiss:
    def __init__(self, bits, dir, threads, params):
        if bits % 8:
            raise ValueError("FAISS takes multiples of 8 bits")
        self.bits, self.file, self.params = bits, os.path.join(dir, "index"), params
        self.set(threads, params)

    @staticmethod
    def version():
        return faiss.__version__

    def set(self, threads, params):
        faiss.omp_set_num_threads(threads)
        if hasattr(self, "index"):
            self.tune(params)

    def tune(self, params):
        pass

    def build(self, rows):
        self.index = self.make(len(rows))
        rows = np.ascontiguousarray(rows)
        if not self.index.is_trained:
            # It asks for 30 to 256 rows a list.
            count = min(len(rows), 64 * self.index.nlist)
            chosen = np.random.default_rng(1).choice(len(rows), count, replace=False)
            self.index.train(rows[np.sort(chosen)])
        self.index.add(rows)

    def search(self, queries, k):
        return self.index.search(queries, k)[1]

    def save(self):
        faiss.write_index_binary(self.index, self.file)

    def load(self):
        self.index = faiss.read_index_binary(self.file)
        self.tune(self.params)


class Radius:
    def radius(self, queries, radius):
        # FAISS finds what is nearer than the radius; ours is a distance that still counts.
        offsets, _, ids = self.index.range_search(queries, radius + 1)
        return ids, offsets


class Flat(Radius, Faiss):
    def make(self, rows):
        self.ids = None
        return faiss.IndexBinaryFlat(self.bits)

    def delete(self, ids):
        # Its rows move up.
        self.ids = np.delete(np.arange(self.index.ntotal), ids.astype(np.int64))
        self.index.remove_ids(ids.astype(np.int64))

    def search(self, queries, k):
        found = super().search(queries, k)
        return found if self.ids is None else self.ids[found]

    def load(self):
        super().load()
        self.ids = None


class Ivf(Radius, Faiss):
    def make(self, rows):
        # The guidelines of FAISS: lists by the root of the rows.
        lists = 1 << round(math.log2(max(16, 4 * math.sqrt(rows))))
        self.quantizer = faiss.IndexBinaryFlat(self.bits)
        return faiss.IndexBinaryIVF(self.quantizer, self.bits, lists)

    def tune(self, params):
        self.index.nprobe = params.get("nprobe", 1)

    def delete(self, ids):
        self.index.remove_ids(ids.astype(np.int64))


class Hnsw(Faiss):
    def make(self, rows):
        index = faiss.IndexBinaryHNSW(self.bits, 32)
        index.hnsw.efConstruction = 128  # As usearch; the default of 40 finds less.
        return index

    def tune(self, params):
        self.index.hnsw.efSearch = params.get("ef", 16)


class MultiHash(Radius, Faiss):
    def make(self, rows):
        width = min(self.params["b"], self.bits)
        return faiss.IndexBinaryMultiHash(self.bits, self.bits // width, width)

    def tune(self, params):
        self.index.nflip = params.get("nflip", 0)
