"""The transformers give the graphs of scikit-learn's own, and behave as its estimators must."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from bitkin.sklearn import KNeighborsTransformer, RadiusNeighborsTransformer  # noqa: E402
from sklearn import neighbors  # noqa: E402
from sklearn.cluster import DBSCAN  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [KNeighborsTransformer(), RadiusNeighborsTransformer()])
def test_the_checks_of_scikit_learn(estimator):
    """All of them, but for arrays of other packages, which no environment variable here asks for."""
    check_estimator(estimator)


@pytest.mark.parametrize("features", [5, 64, 100])
@pytest.mark.parametrize("mode", ["distance", "connectivity"])
def test_the_same_graphs(random, features, mode):
    # In few bits many samples are as far, and which of them is among the k is anybody's choice.
    samples, queries = (random.integers(0, 2, (n, features)).astype(bool) for n in (300, 40))
    ours = KNeighborsTransformer(mode=mode, n_neighbors=7, binarize=None).fit(samples)
    theirs = neighbors.KNeighborsTransformer(mode=mode, n_neighbors=7, metric="hamming").fit(samples)
    for X in [samples, queries]:
        graph, expected = ours.transform(X), theirs.transform(X)
        assert graph.shape == expected.shape and graph.dtype == expected.dtype
        np.testing.assert_array_equal(graph.indptr, expected.indptr)
        np.testing.assert_allclose(graph.data, expected.data)
        if mode == "distance":
            apart = (X[:, None] != samples[None]).mean(axis=2)
            rows = np.repeat(np.arange(len(X)), np.diff(graph.indptr))
            np.testing.assert_allclose(graph.data, apart[rows, graph.indices])
    distances, ids = ours.kneighbors(queries, 3)
    np.testing.assert_allclose(distances, theirs.kneighbors(queries, 3)[0])
    np.testing.assert_array_equal(ids, ours.kneighbors(queries, 3, return_distance=False))
    for radius in [0, 0.21, 0.45, 1]:
        ours_within = RadiusNeighborsTransformer(mode=mode, radius=radius).fit(samples)
        within = neighbors.RadiusNeighborsTransformer(mode=mode, radius=radius, metric="hamming")
        found, expected = ours_within.transform(queries), within.fit(samples).transform(queries)
        np.testing.assert_allclose(found.toarray(), expected.toarray())
        assert found.nnz == expected.nnz
    # At the very radius, where the rounding of a division leaves neighbours out of scikit-learn's own.
    for bits in range(min(features, 40)):
        at = RadiusNeighborsTransformer(radius=bits / features).fit(samples)
        apart = (queries[:, None] != samples[None]).sum(axis=2)
        assert at.transform(queries).nnz == (apart <= bits).sum()


def test_in_pipelines(random):
    centres = random.integers(0, 2, (3, 64))
    labels = np.repeat(np.arange(3), 30)
    samples = centres[labels] ^ (random.random((90, 64)) < 0.05)
    knn = neighbors.KNeighborsClassifier(n_neighbors=3, metric="precomputed")
    pipeline = make_pipeline(KNeighborsTransformer(n_neighbors=5), knn).fit(samples, labels)
    assert pipeline.score(samples, labels) == 1
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict(samples), labels)
    graph = RadiusNeighborsTransformer(radius=0.25)
    clusters = make_pipeline(graph, DBSCAN(metric="precomputed", eps=0.25)).fit_predict(samples)
    assert len({(label, cluster) for label, cluster in zip(labels, clusters)}) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        KNeighborsTransformer(n_neighbors=0),
        KNeighborsTransformer(mode="far"),
        KNeighborsTransformer(binarize="no"),
        KNeighborsTransformer(binarize=None),
        RadiusNeighborsTransformer(radius=-1),
    ],
)
def test_parameters_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must be"):
        wrong.fit(np.array([[0.0, 0.5], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="n_neighbors = 3"):
        KNeighborsTransformer().fit(np.eye(2)).kneighbors(np.eye(2), 3)
