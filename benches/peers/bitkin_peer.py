"""Bitkin through its Python module."""

import os

import bitkin
import numpy as np


class Bitkin:
    durable = True

    def __init__(self, bits, dir, threads, params):
        self.bits, self.path = bits, os.path.join(dir, "rows.bitkin")
        self.set(threads, params)

    @staticmethod
    def version():
        return bitkin.__version__

    def set(self, threads, params):
        self.threads = threads

    def load(self):
        self.db = bitkin.open(self.path)
        self.rows = self.db.collection("rows")

    def build(self, rows):
        self.db = bitkin.open(self.path)
        self.rows = self.db.create_collection("rows", bits=self.bits)
        for start in range(0, len(rows), 10_000):
            piece = np.ascontiguousarray(rows[start : start + 10_000])
            self.rows.insert(np.arange(start, start + len(piece), dtype=np.uint64), piece)
        self.rows.compact()

    def search(self, queries, k):
        return self.rows.search(queries, k=k, threads=self.threads)[0]

    def radius(self, queries, radius):
        hits = self.rows.search_radius(queries, radius, threads=self.threads)
        return hits.ids, hits.offsets

    def delete(self, ids):
        self.rows.delete(ids)

    def save(self):
        self.db.close()
