"""Neighbours by Hamming distance for pipelines of scikit-learn, which must be installed.

``KNeighborsTransformer`` and ``RadiusNeighborsTransformer`` are used like those of
``sklearn.neighbors`` with ``metric="hamming"``, and give the same graphs, exactly and without comparing
everything with everything::

    from bitkin.sklearn import KNeighborsTransformer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    make_pipeline(
        KNeighborsTransformer(n_neighbors=10),
        KNeighborsClassifier(n_neighbors=5, metric="precomputed"),
    )

They take bits: of a matrix of shape (n_samples, n_features), whatever is greater than ``binarize`` is a 1.
"""

from __future__ import annotations

import tempfile
from numbers import Integral, Real
from typing import Any, Optional

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from . import open as _open

try:
    from sklearn.utils.validation import validate_data as _validate_data
except ImportError:  # Before scikit-learn 1.6 it was a method.

    def _validate_data(estimator, X, **options):
        return estimator._validate_data(X, **options)


__all__ = ["KNeighborsTransformer", "RadiusNeighborsTransformer"]

# The fewest bits that a collection's codes can have. Those that are added are 0 in all of them.
_LEAST_BITS = 8


class _HammingNeighbors(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What both have in common: the codes of the samples, in a database of their own.

    It lies in a temporary directory, and is gone with the estimator. A pickled estimator takes
    the codes along.
    """

    def fit(self, X: ArrayLike, y: Any = None) -> _HammingNeighbors:
        """Stores the samples X, of shape (n_samples, n_features)."""
        self._check_parameters()
        codes = self._codes(X, reset=True)
        self.n_samples_fit_ = len(codes)
        self._n_features_out = self.n_samples_fit_
        self._store(codes)
        return self

    def _codes(self, X, reset):
        """The packed bits of X, validated."""
        X = _validate_data(self, X, reset=reset, dtype=None if self.binarize is None else "numeric")
        if X.dtype != bool:
            if self.binarize is not None:
                X = X > self.binarize
            elif np.isin(X, (0, 1)).all():
                X = X.astype(bool)
            else:
                raise ValueError("with binarize=None, X must be of zeros and ones")
        lacking = max(0, _LEAST_BITS - X.shape[1])
        return np.packbits(np.pad(X, ((0, 0), (0, lacking))), axis=1, bitorder="little")

    def _store(self, codes):
        self._folder = tempfile.TemporaryDirectory(prefix="bitkin-")
        # Nothing outlives the process anyway.
        self._database = _open(self._folder.name, durability="none")
        bits = max(_LEAST_BITS, self.n_features_in_)
        self._collection = self._database.create_collection("samples", bits=bits)
        self._collection.insert(None, codes)
        # With search tables from the first search on.
        self._database.flush()

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "_collection" in state:
            del state["_folder"], state["_database"]
            batches = state.pop("_collection").batches(payloads=False)
            state["_codes_"] = np.concatenate([codes for _, codes, _ in batches])
        return state

    def __setstate__(self, state):
        state = dict(state)
        codes = state.pop("_codes_", None)
        super().__setstate__(state)
        if codes is not None:
            self._store(codes)

    def _check_mode(self):
        if self.mode not in ("distance", "connectivity"):
            raise ValueError(f"mode must be 'distance' or 'connectivity', not {self.mode!r}")
        if self.binarize is not None and not isinstance(self.binarize, Real):
            raise ValueError(f"binarize must be a number or None, not {self.binarize!r}")

    def _graph(self, ids, distances, offsets):
        values = self._fractions(distances)
        if self.mode == "connectivity":
            values = np.ones(len(values))
        shape = (len(offsets) - 1, self.n_samples_fit_)
        return csr_matrix((values, ids.astype(np.int64), offsets), shape=shape)

    def _fractions(self, distances):
        """Distances as scikit-learn's `hamming` has them: the part of the features that differs."""
        return distances.astype(np.float64) / self.n_features_in_


class KNeighborsTransformer(_HammingNeighbors):
    """Transforms samples into the weighted graph of their k nearest neighbours by Hamming distance.

    mode: "distance" for distances, as a part of n_features, and one neighbour more than n_neighbors,
    since a sample is its own nearest; "connectivity" for ones. binarize: what is greater is a 1; None
    where X holds only zeros and ones, or is of bool. n_jobs: threads that search; None or -1 for as many
    as there are cores.
    """

    def __init__(
        self,
        *,
        mode: str = "distance",
        n_neighbors: int = 5,
        binarize: Optional[float] = 0.0,
        n_jobs: Optional[int] = None,
    ) -> None:
        self.mode = mode
        self.n_neighbors = n_neighbors
        self.binarize = binarize
        self.n_jobs = n_jobs

    def _check_parameters(self):
        self._check_mode()
        if not isinstance(self.n_neighbors, Integral) or self.n_neighbors < 1:
            raise ValueError(f"n_neighbors must be a whole number from 1, not {self.n_neighbors!r}")

    def kneighbors(
        self, X: ArrayLike, n_neighbors: Optional[int] = None, return_distance: bool = True
    ) -> Any:
        """The nearest samples of each row of X: distances and indices, each of shape (n, n_neighbors)."""
        check_is_fitted(self)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if k > self.n_samples_fit_:
            raise ValueError(
                f"Expected n_neighbors <= n_samples_fit, but n_neighbors = {k}, "
                f"n_samples_fit = {self.n_samples_fit_}"
            )
        ids, distances = self._collection.search(
            self._codes(X, reset=False), k, threads=_threads(self.n_jobs)
        )
        ids = ids.astype(np.int64)
        return (self._fractions(distances), ids) if return_distance else ids

    def transform(self, X: ArrayLike) -> csr_matrix:
        """The graph of X: a sparse matrix of shape (n_samples, n_samples_fit) in CSR format."""
        check_is_fitted(self)
        k = self.n_neighbors + (self.mode == "distance")
        # The graph of few samples has them all.
        k = min(k, self.n_samples_fit_)
        codes = self._codes(X, reset=False)
        ids, distances = self._collection.search(codes, k, threads=_threads(self.n_jobs))
        offsets = np.arange(0, ids.size + 1, k)
        return self._graph(ids.ravel(), distances.ravel(), offsets)

    def fit_transform(self, X: ArrayLike, y: Any = None) -> csr_matrix:
        """Stores the samples X, and gives their graph."""
        return self.fit(X).transform(X)


class RadiusNeighborsTransformer(_HammingNeighbors):
    """Transforms samples into the weighted graph of their neighbours within a radius by Hamming distance.

    radius: a part of n_features, from 0 to 1. The other parameters are those of
    ``KNeighborsTransformer``.
    """

    def __init__(
        self,
        *,
        mode: str = "distance",
        radius: float = 0.1,
        binarize: Optional[float] = 0.0,
        n_jobs: Optional[int] = None,
    ) -> None:
        self.mode = mode
        self.radius = radius
        self.binarize = binarize
        self.n_jobs = n_jobs

    def _check_parameters(self):
        self._check_mode()
        if not isinstance(self.radius, Real) or not self.radius >= 0:
            raise ValueError(f"radius must be a number from 0, not {self.radius!r}")

    def transform(self, X: ArrayLike) -> csr_matrix:
        """The graph of X: a sparse matrix of shape (n_samples, n_samples_fit) in CSR format."""
        check_is_fitted(self)
        codes = self._codes(X, reset=False)
        # So many bits that no rounding puts a neighbour at the radius outside.
        bits = int(min(self.radius, 1.0) * self.n_features_in_ * (1 + 1e-12))
        hits = self._collection.search_radius(codes, bits, threads=_threads(self.n_jobs))
        return self._graph(hits.ids, hits.distances, hits.offsets)

    def fit_transform(self, X: ArrayLike, y: Any = None) -> csr_matrix:
        """Stores the samples X, and gives their graph."""
        return self.fit(X).transform(X)


def _threads(n_jobs):
    return None if n_jobs is None or n_jobs < 1 else n_jobs
