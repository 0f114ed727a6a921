"""What Python adds to the calls of the engine, measured in one process and in turns.

    cd bindings/python
    maturin develop --release --features measure && python benchmark.py

It prints a line for each target: the medians over all rounds, and "added", the median of the differences,
or of the ratios, within a round, with its quartiles. Where the work is done by the thread that calls, times
are that thread's time on the processor, so that others on the machine disturb them less; `--wall` takes the
time that passes, as it does for many threads and for syncs.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import bitkin
from bitkin._bitkin import Native

BITS = 64


def clustered(random, rows):
    """Codes that crowd around 1,000 centres, as learned ones do."""
    centres = random.integers(0, 2**64, 1_000, dtype=np.uint64)
    flips = ~np.uint64(0)
    for _ in range(3):
        flips = flips & random.integers(0, 2**64, rows, dtype=np.uint64)
    codes = centres[random.integers(0, len(centres), rows)] ^ flips
    return codes.view(np.uint8).reshape(rows, BITS // 8)


class Rounds:
    def __init__(self, count, clock):
        self.count, self.clock = count, clock

    def run(self, native, python):
        """Seconds of both in each round, the first of which warms up; who begins takes turns."""
        pairs = []
        for number in range(self.count + 1):
            if number % 2:
                first = native(self.clock)
                pairs.append((first, python(self.clock)))
            else:
                second = python(self.clock)
                pairs.append((native(self.clock), second))
        return pairs[1:]


def clocked(work):
    def run(clock):
        begun = clock()
        work()
        return clock() - begun

    return run


def report(what, pairs, unit, scale, added, target):
    native, python = (statistics.median(side) * scale for side in zip(*pairs))
    low, middle, high = statistics.quantiles(added, n=4)
    print(
        f"{what:<30} Rust {native:8.2f} {unit}  Python {python:8.2f} {unit}  "
        f"added {middle:5.2f} ({low:.2f} to {high:.2f}), target {target}",
        flush=True,
    )


def single(rounds, col, queries, what):
    native = Native(col, [], queries)
    search = col.search

    def python():
        for query in queries:
            search(query, 10)

    pairs = rounds.run(clocked(lambda: native.search_each(col, 10)), clocked(python))
    pairs = [(a / len(queries), b / len(queries)) for a, b in pairs]
    report(what, pairs, "us", 1e6, [(b - a) * 1e6 for a, b in pairs], "<= 3 us")


def batch(rounds, col, queries, threads, what):
    native = Native(col, [], queries)
    pairs = rounds.run(
        clocked(lambda: native.search(col, 10, threads or 0)),
        clocked(lambda: col.search(queries, 10, threads=threads)),
    )
    report(what, pairs, "ms", 1e3, [(b / a - 1) * 100 for a, b in pairs], "<= 5 %")


def insert(rounds, path, codes, durability, what):
    ids = np.arange(len(codes), dtype=np.uint64)

    def fresh(prepare):
        def run(clock):
            # Rows that others are still writing into segments would take the machine from this one.
            with bitkin.open(path, durability=durability, flush_rows=2**40) as db:
                col = db.create_collection("rows", bits=BITS)
                seconds = clocked(prepare(col))(clock)
            shutil.rmtree(path)
            return seconds

        return run

    def native(col):
        given = Native(col, ids, codes)
        return lambda: given.insert(col)

    pairs = rounds.run(fresh(native), fresh(lambda col: lambda: col.insert(ids, codes)))
    report(what, pairs, "ms", 1e3, [(b / a - 1) * 100 for a, b in pairs], "<= 10 %")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--wall", action="store_true")
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    codes = clustered(random, arguments.rows)
    queries = codes[random.integers(0, len(codes), 1_000)].copy()
    # Most of a query's bits are those of a row that is stored.
    queries[:, 0] ^= random.integers(0, 256, 1_000, dtype=np.uint8) & 17
    wall = Rounds(arguments.rounds, time.perf_counter)
    own = wall if arguments.wall else Rounds(arguments.rounds, time.thread_time)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.bitkin"
        with bitkin.open(path, durability="none") as db:
            few = db.create_collection("few", bits=BITS)
            few.insert(None, codes[:800])
            col = db.create_collection("rows", bits=BITS)
            col.insert(None, codes)
            db.compact()
            single(own, few, queries, "a query, 800 rows")
            single(own, col, queries, f"a query, {arguments.rows} rows")
            batch(own, col, queries, 1, "1,000 queries, one thread")
            batch(wall, col, queries, None, "1,000 queries, all threads")
        path = Path(directory) / "inserted.bitkin"
        insert(own, path, codes, "none", f"insert of {arguments.rows}")
        insert(wall, path, codes, "sync", f"insert of {arguments.rows}, synced")


if __name__ == "__main__":
    main()
