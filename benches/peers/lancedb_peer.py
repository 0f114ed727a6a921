"""LanceDB: a table of bytes under the Hamming distance, without an index and with IVF_FLAT."""

import math

import lancedb
import numpy as np
import pyarrow as pa


class LanceDb:
    durable = False  # It commits, but does not ask the disk to keep what it wrote.

    def __init__(self, bits, dir, threads, params):
        if bits % 8:
            raise ValueError("LanceDB takes multiples of 8 bits")
        self.width, self.dir = bits // 8, dir
        self.set(threads, params)

    @staticmethod
    def version():
        return lancedb.__version__

    def set(self, threads, params):
        self.probes = params.get("nprobes", 0)

    def load(self):
        self.table = lancedb.connect(self.dir).open_table("rows")

    def batch(self, start, codes):
        flat = pa.array(np.ascontiguousarray(codes).reshape(-1))
        columns = [
            pa.array(np.arange(start, start + len(codes))),
            pa.FixedSizeListArray.from_arrays(flat, self.width),
        ]
        return pa.table(columns, names=["id", "code"])

    def build(self, rows):
        db = lancedb.connect(self.dir)
        step = 100_000  # Its guide asks for large batches: each makes a fragment.
        self.table = db.create_table("rows", self.batch(0, rows[:step]))
        for start in range(step, len(rows), step):
            self.table.add(self.batch(start, rows[start : start + step]))
        lists = max(1, round(math.sqrt(len(rows))))
        self.table.create_index(
            metric="hamming", num_partitions=lists, vector_column_name="code", index_type="IVF_FLAT"
        )
        self.table.optimize()

    def search(self, queries, k):
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        for at, query in enumerate(queries):
            ask = self.table.search(query, vector_column_name="code").distance_type("hamming")
            ask = ask.nprobes(self.probes) if self.probes else ask.bypass_vector_index()
            found = ask.select(["id", "_distance"]).limit(k).to_arrow()["id"].to_numpy()
            ids[at, : len(found)] = found
        return ids

    def delete(self, ids):
        self.table.delete(f"id in ({','.join(map(str, ids.tolist()))})")

    def save(self):
        pass  # Every write is in its files when it returns.
