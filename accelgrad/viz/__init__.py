"""Pictures: of training runs, data, graphs and models.  matplotlib is imported when the first one is
drawn."""

from accelgrad.viz.figures import confusion_matrix, image_grid, training_curves

__all__ = ["confusion_matrix", "image_grid", "training_curves"]
