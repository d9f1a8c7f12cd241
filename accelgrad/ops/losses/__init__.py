"""Losses, and the distances they measure."""

from accelgrad.ops.losses import ctc as ctc
from accelgrad.ops.losses import distance as distance
from accelgrad.ops.losses import divergence as divergence
from accelgrad.ops.losses import loss as loss
from accelgrad.ops.losses import margin_loss as margin_loss
from accelgrad.ops.losses import pair_loss as pair_loss
