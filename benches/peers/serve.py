"""Runs one system for the harness: commands come in as JSON, one a line, answers go out the same way.

    python serve.py faiss-flat

A system is a class of one of the peers' modules. It has `build(rows)` and `search(queries, k)`, and
what else it can: `radius`, `delete`, `save`, `load`, `index_bytes`. All clocks are read here, around
the call of the peer and nothing else, in the same way for every system.
"""

import importlib
import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np

SYSTEMS = {
    "bitkin": ("bitkin_peer", "Bitkin"),
    "faiss-flat": ("faiss_peer", "Flat"),
    "faiss-ivf": ("faiss_peer", "Ivf"),
    "faiss-hnsw": ("faiss_peer", "Hnsw"),
    "faiss-multihash": ("faiss_peer", "MultiHash"),
    "usearch-exact": ("usearch_peer", "Exact"),
    "usearch-hnsw": ("usearch_peer", "Hnsw"),
    "sqlite-vec": ("sqlite_vec_peer", "SqliteVec"),
    "lancedb": ("lancedb_peer", "LanceDb"),
}


class Server:
    def __init__(self, name):
        module, cls = SYSTEMS[name]
        self.cores = sorted(os.sched_getaffinity(0))
        self.cls = getattr(importlib.import_module(module), cls)
        self.system = None

    def hello(self):
        able = {verb: hasattr(self.cls, verb) for verb in ("radius", "delete", "save")}
        return {"version": self.cls.version(), "durable": getattr(self.cls, "durable", False), **able}

    def start(self, bits, dir, threads, params):
        self.system = self.cls(bits, dir, threads, params)
        return {}

    def build(self, rows):
        rows = np.load(rows, mmap_mode="r")
        begin = time.perf_counter()
        self.system.build(rows)
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "index_bytes": self.index_bytes()}

    def index_bytes(self):
        return self.system.index_bytes() if hasattr(self.system, "index_bytes") else None

    def set(self, threads, callers, params):
        """`threads` cores, which so many callers share."""
        # Some peers have threads of their own that nobody can number: all get as many cores.
        cores = set(self.cores[:threads])
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), cores)
        self.system.set(max(1, threads // callers), params)
        return {}

    def answers(self, queries, out, k=None, radius=None):
        """All answers at once, for the recall: into `out`, ids, and with a radius also offsets."""
        queries = np.load(queries)
        if radius is None:
            ids = np.asarray(self.system.search(queries, k)).astype(np.int64)
            offsets = np.arange(0, ids.size + 1, ids.shape[1], dtype=np.uint64)
        else:
            ids, offsets = self.system.radius(queries, radius)
        np.save(out + ".ids.npy", np.asarray(ids).reshape(-1).astype(np.int64))
        np.save(out + ".offsets.npy", np.asarray(offsets).astype(np.uint64))
        return {}

    def time(self, queries, out, batch, seconds, least, callers, k=None, radius=None):
        """Nanoseconds of each call: of every caller, one after another, at least `least` and `seconds`."""
        queries = np.load(queries)
        if radius is None:
            ask, how = self.system.search, k
        else:
            ask, how = self.system.radius, radius
        pieces = [queries[at : at + batch] for at in range(0, len(queries) - batch + 1, batch)]
        clock = time.perf_counter_ns
        # Caches and threads are those of another setting, or have slept. What takes so long is no warmer a
        # second time.
        for piece in pieces[: 3 if batch == 1 else 1]:
            before = clock()
            ask(piece, how)
            warmed = clock() - before
        if batch > 1 and warmed >= seconds * 1e9:
            np.save(out, np.asarray([warmed], dtype=np.uint64))
            return {"calls": 1}
        end = clock() + int(seconds * 1e9)

        def call(caller):
            # Callers begin at different queries.
            first, nanos = caller * len(pieces) // callers, []
            while len(nanos) < least or clock() < end:
                piece = pieces[(first + len(nanos)) % len(pieces)]
                before = clock()
                ask(piece, how)
                nanos.append(clock() - before)
            return nanos

        if callers == 1:
            nanos = call(0)
        else:
            with ThreadPoolExecutor(callers) as pool:
                nanos = [nano for nanos in pool.map(call, range(callers)) for nano in nanos]
        np.save(out, np.asarray(nanos, dtype=np.uint64))
        return {"calls": len(nanos)}

    def delete(self, ids):
        ids = np.load(ids)
        if hasattr(self.system, "make_writable"):
            self.system.make_writable()
        begin = time.perf_counter()
        self.system.delete(ids)
        return {"seconds": time.perf_counter() - begin}

    def save(self):
        self.system.save()
        return {}

    def load(self, query, k, threads, params):
        """Opens what was saved, in a process that did not build it, and asks one question."""
        query = np.load(query)[:1]
        begin = time.perf_counter()
        self.system.load()
        opened = time.perf_counter()
        self.set(threads, 1, params)
        before = time.perf_counter()
        self.system.search(query, k)
        done = time.perf_counter()
        return {"open_seconds": opened - begin, "first_seconds": done - before}


def main():
    # Peers print; what they print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(answer):
        answers.write(json.dumps(answer) + "\n")

    try:
        server = Server(sys.argv[1])
    except ImportError as error:
        say({"missing": str(error)})
        return
    say(server.hello())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            say(getattr(server, command.pop("do"))(**command))
        except Exception as error:  # A system that fails is shown as such; the others go on.
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
