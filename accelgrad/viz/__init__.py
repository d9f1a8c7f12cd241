"""Pictures: of graphs, memory, models, training runs and data loading.

SVG pictures are of our own making and show themselves in Jupyter; figures are matplotlib's, which is imported
when the first one is drawn, without a window.
"""

from accelgrad.viz.figures import attention_maps, confusion_matrix, image_grid, training_curves
from accelgrad.viz.graphs import Sweep, computation_graph, reverse_sweep
from accelgrad.viz.landscape import gradient_flow, loss_surface
from accelgrad.viz.loading import loader_timeline, padding_waste
from accelgrad.viz.memory import broadcasting, gather_arrows, memory_ribbon
from accelgrad.viz.speed import roofline, speed_ladder
from accelgrad.viz.summary import Summary, module_summary
from accelgrad.viz.svg import SVG

__all__ = [
    "SVG", "Summary", "Sweep", "attention_maps", "broadcasting", "computation_graph", "confusion_matrix",
    "gather_arrows", "gradient_flow", "image_grid", "loader_timeline", "loss_surface", "memory_ribbon",
    "module_summary", "padding_waste", "reverse_sweep", "roofline", "speed_ladder", "training_curves",
]  # fmt: skip
