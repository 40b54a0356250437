"""Deterministic randomness from ids: folds, subsamples and held-out users are hashes, so a rerun draws the same."""

import hashlib
import os

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def threads() -> int:
    """Threads of one training: all cores it may use, or fewer by OMP_NUM_THREADS; no model depends on them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(most)) if most.isdigit() and int(most) else cores


def hash_ids(ids: ArrayLike, salt: str) -> NDArray[np.uint64]:
    """First 64 bits of sha256 of ``salt:id`` for each id, shape (n,); each distinct id is hashed once."""
    codes, distinct = pd.factorize(np.asarray(ids, dtype=object))
    digests = [hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8] for name in distinct]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)[codes]


def uniform_ids(ids: ArrayLike, salt: str) -> NDArray[np.float64]:
    """A number in [0, 1) for each id, shape (n,); the same id and salt always give the same number."""
    return _unit(hash_ids(ids, salt))


def uniform_rows(*keys: ArrayLike, salt: str) -> NDArray[np.float64]:
    """A number in [0, 1) for each row of equally long key columns (splitmix64 over the columns' hashes)."""
    state = np.zeros(len(np.asarray(keys[0], dtype=object)), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            state = state * _GOLDEN + hash_ids(key, salt)
            for shift, factor in zip((30, 27), _MIX, strict=True):
                state = (state ^ (state >> np.uint64(shift))) * factor
            state ^= state >> np.uint64(31)
    return _unit(state)


def fold_of(users: ArrayLike, folds: int, salt: str = "fold") -> NDArray[np.int64]:
    """Fold 0..folds-1 of each user, shape (n,): all rows of a user are in one fold."""
    return (hash_ids(users, salt) % np.uint64(folds)).astype(np.int64)


def _unit(values: NDArray[np.uint64]) -> NDArray[np.float64]:
    return (values >> np.uint64(11)).astype(np.float64) / float(1 << 53)
