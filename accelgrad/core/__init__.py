"""The core: the graph and the walk back, the Tensor, and how two formulas become an operation."""
