"""Functions of every element: exp, log, sin, clamp and their kin."""
