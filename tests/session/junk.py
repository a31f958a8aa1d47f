"""Values that no argument expects: JSON-like junk, and some of Python's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-2, 3),
    st.floats(),
    st.text(max_size=12),
    st.binary(max_size=4),
    st.sampled_from(
        [
            "x" * 5000,
            "a\0b",
            "/" * 300,
            "..",
            "",
            "reference",
            "start",
            "best",
            "m890",
            "normal",
            Path("no/such"),
            Path("a\0b"),
            np.int64(3),
            np.float32("nan"),
            np.zeros(2),
            object(),
            int,
            len,
            ...,
        ]
    ),
)
JUNK = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(st.text(max_size=5), inner, max_size=2),
        st.sets(st.integers(), max_size=2),
    ),
    max_leaves=4,
)
