"""The benchmark's protocol: agents on cells of a split, measured at equal budgets."""
