"""Tiled flash attention in NumPy, the way one would write it by hand: no simulator, only values."""

from __future__ import annotations

import numpy as np
from protocol import BLOCK, measure, read_work


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
    """softmax(scale * q k^T) v for [heads, tokens, d] in float32, one block of scores at a time."""
    heads, tokens, d = q.shape
    result = np.empty_like(q)
    for h in range(heads):
        for i in range(0, tokens, BLOCK):
            rows = q[h, i : i + BLOCK] * np.float32(scale)
            largest = np.full((len(rows), 1), -np.inf, np.float32)
            total = np.zeros((len(rows), 1), np.float32)
            out = np.zeros((len(rows), d), np.float32)
            for j in range(0, tokens, BLOCK):
                scores = rows @ k[h, j : j + BLOCK].T
                larger = np.maximum(largest, scores.max(axis=1, keepdims=True))
                np.subtract(scores, larger, out=scores)
                p = np.exp(scores, out=scores)
                shrink = np.exp(largest - larger)
                total = total * shrink + p.sum(axis=1, keepdims=True)
                out = out * shrink + p @ v[h, j : j + BLOCK]
                largest = larger
            result[h, i : i + BLOCK] = out / total
    return result


def main() -> None:
    """Run the work in float32."""
    work = read_work()
    measure(work, lambda: attention(work.q, work.k, work.v, work.scale))


if __name__ == "__main__":
    main()
