"""Picking and placing elements by index tensors: gather, scatter, index_add, where and their kin."""
