"""The formulas that fused kernels stand for, written over an array module ``xp``: specification and fall-back."""
