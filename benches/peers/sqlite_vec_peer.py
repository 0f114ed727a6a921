"""sqlite-vec: a virtual table of bit vectors in SQLite, which searches by brute force.

Through apsw, since the sqlite3 of many a Python was built without extensions.
"""

import os

import apsw
import numpy as np
import sqlite_vec


class SqliteVec:
    durable = True

    def __init__(self, bits, dir, threads, params):
        self.bits, self.file = bits, os.path.join(dir, "rows.db")

    @staticmethod
    def version():
        return sqlite_vec.__version__

    def set(self, threads, params):
        pass  # It has one thread, and nothing to tune.

    def load(self):
        self.db = apsw.Connection(self.file)
        self.db.enable_load_extension(True)
        self.db.load_extension(sqlite_vec.loadable_path())
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = full")

    def build(self, rows):
        self.load()
        self.db.execute(f"create virtual table rows using vec0(code bit[{self.bits}])")
        insert = "insert into rows (rowid, code) values (?, vec_bit(?))"
        for start in range(0, len(rows), 10_000):
            piece = rows[start : start + 10_000]
            with self.db:
                values = ((start + at + 1, code.tobytes()) for at, code in enumerate(piece))
                self.db.executemany(insert, values)

    def search(self, queries, k):
        ask = "select rowid from rows where code match vec_bit(?) order by distance limit ?"
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        for at, query in enumerate(queries):
            found = self.db.execute(ask, (query.tobytes(), k)).fetchall()
            ids[at, : len(found)] = [row - 1 for (row,) in found]
        return ids

    def delete(self, ids):
        with self.db:
            rows = ((int(id) + 1,) for id in ids)
            self.db.executemany("delete from rows where rowid = ?", rows)

    def save(self):
        self.db.execute("pragma wal_checkpoint(truncate)")
        self.db.close()
