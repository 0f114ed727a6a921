"""How programs use the types: checked by mypy and pyright, and never run."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Optional

import bitkin
import bitkin.sklearn
import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

Ids = NDArray[np.uint64]
Codes = NDArray[np.uint8]
Distances = NDArray[np.uint32]


def databases(path: Path) -> None:
    with bitkin.open(path, durability=timedelta(seconds=1), flush_rows=1000) as db:
        assert_type(db, bitkin.Database)
        assert_type(db.collections(), list[bitkin.Collection])
        db.create_collection("a", bits=64, index={"year": "int"})
        db.create_collection("b", encoder="pdq")
        db.create_collection("c", model="m.safetensors")
        assert_type(db.backup("copy"), bitkin.BackupReport)
    assert_type(bitkin.verify(str(path)), list[str])
    assert_type(bitkin.repair(path, "saved").lost, list[str])
    bitkin.open(path, read_only=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bitkin.open(path, durability="often")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def rows(col: bitkin.Collection, codes: Codes) -> None:
    assert_type(col.insert(None, codes), Ids)
    assert_type(col.insert(range(3), codes, [{"a": 1}, None, "{}"]), Ids)
    assert_type(col.upsert(np.arange(3), codes), int)
    assert_type(col.get(3), Optional[tuple[Codes, Any]])
    assert_type(3 in col, bool)
    for row, code, payload in col.rows(filter="a = 1"):
        assert_type((row, code, payload), tuple[int, Codes, Any])
    for ids, some, payloads in col.batches(100):
        assert_type((ids, some, payloads), tuple[Ids, Codes, list[Any]])
    for _, _, none in col.batches(payloads=False):
        assert_type(none, None)
    col.insert("ids", codes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def searches(col: bitkin.Collection, queries: Codes) -> None:
    assert_type(col.search(queries, k=5, budget=100), tuple[Ids, Distances])
    assert_type(
        col.search(queries, return_certificate=True, budget=timedelta(milliseconds=1)),
        tuple[Ids, Distances, NDArray[np.int64]],
    )
    assert_type(col.search_radius(queries, 3), bitkin.RadiusHits)
    assert_type(
        col.search_radius(queries, 3, return_certificate=True),
        tuple[bitkin.RadiusHits, NDArray[np.int64]],
    )
    assert_type(col.pairs(2), tuple[Ids, Ids, Distances])
    assert_type(col.groups(2).kept, Ids)
    col.search(queries, budget=0.5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def pictures(col: bitkin.Collection) -> None:
    try:
        assert_type(col.insert_images(Path("photos").glob("*.jpg"), progress=print), Ids)
        col.insert_images(["a.jpg", b"", Path("b")], on_error=lambda failed: print(failed.error))
        assert_type(col.search_images("a.jpg", k=3), tuple[Ids, Distances])
        assert_type(col.encode_images(["a.jpg"]), Codes)
    except bitkin.ImagesFailed as error:
        assert_type(error.failed, list[bitkin.FailedImage])
        assert_type(error.failed[0].position, int)
    except bitkin.EncoderMissing:
        pass


def transformers(samples: Codes) -> None:
    bitkin.sklearn.KNeighborsTransformer(n_neighbors=3, binarize=None).fit(samples)
