"""The estimators against scikit-learn's: score and time of the fits, same folds and seeds.

    python -m bench.estimators                 # five data sets, three solvers
    python -m bench.estimators iris wine

Both at scikit-learn's defaults except ``max_iter``, in turns, fold by fold.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from typing import Any

import numpy as np

import fastbp

DATA = ("iris", "wine", "breast_cancer", "digits", "diabetes")
SOLVERS = ("adam", "sgd", "lbfgs")
LIBRARIES = ("sklearn", "fastbp")
MAX_ITER = 100


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Data with standardised columns; a regression target in units of its standard deviation."""
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)
    return X, (y - y.mean()) / y.std() if name == "diabetes" else y


def compare(name: str, solver: str, seeds: int = 3, folds: int = 5,
            max_iter: int = MAX_ITER) -> tuple[dict[str, list[float]], float]:
    """Scores of each library by fold and seed, and the median of the ratios of fit times."""
    # asv imports every module here, in environments without scikit-learn.
    from sklearn import neural_network
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import KFold, StratifiedKFold

    X, y = load(name)
    real = y.dtype.kind == "f"
    scores: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    ratios = []

    def fitted(library: str, rows: np.ndarray, seed: int) -> tuple[Any, float]:
        source: Any = fastbp if library == "fastbp" else neural_network
        make = source.MLPRegressor if real else source.MLPClassifier
        model = make(solver=solver, max_iter=max_iter, random_state=seed)
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X[rows], y[rows])
        return model, time.perf_counter() - began

    for library in LIBRARIES:  # compiles, warms up
        fitted(library, np.arange(len(X)), 0)
    for seed in range(seeds):
        split = (KFold if real else StratifiedKFold)(folds, shuffle=True, random_state=seed)
        for k, (train, test) in enumerate(split.split(X, y)):
            seconds = {}
            for library in list(LIBRARIES)[::1 if k % 2 else -1]:
                model, seconds[library] = fitted(library, train, seed)
                scores[library].append(float(model.score(X[test], y[test])))
            ratios.append(seconds["sklearn"] / seconds["fastbp"])
    return scores, statistics.median(ratios)


def main(names: list[str]) -> None:
    """Print a line for each data set and solver, then median and least ratio."""
    print(f"max_iter={MAX_ITER}, 5 folds, 3 seeds: mean score (standard deviation)")
    print("| data | solver | sklearn | fastbp | time sklearn / fastbp |")
    print("|---|---|---:|---:|---:|")
    ratios = []
    for name in names or DATA:
        for solver in SOLVERS:
            scores, ratio = compare(name, solver)
            ratios.append(ratio)
            figures = " | ".join(f"{np.mean(s):.4f} ({np.std(s):.4f})" for s in scores.values())
            print(f"| {name} | {solver} | {figures} | {ratio:.2f} |", flush=True)
    print(f"\nTime of scikit-learn's fit over fastbp's: median {statistics.median(ratios):.2f}, "
          f"least {min(ratios):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
