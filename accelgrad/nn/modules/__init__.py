"""The layers, in families; the files are named as PyTorch's."""

from accelgrad.nn.modules.activation import *  # noqa: F403
from accelgrad.nn.modules.adaptive import *  # noqa: F403
from accelgrad.nn.modules.batchnorm import *  # noqa: F403
from accelgrad.nn.modules.channelshuffle import *  # noqa: F403
from accelgrad.nn.modules.container import *  # noqa: F403
from accelgrad.nn.modules.conv import *  # noqa: F403
from accelgrad.nn.modules.distance import *  # noqa: F403
from accelgrad.nn.modules.dropout import *  # noqa: F403
from accelgrad.nn.modules.flatten import *  # noqa: F403
from accelgrad.nn.modules.fold import *  # noqa: F403
from accelgrad.nn.modules.instancenorm import *  # noqa: F403
from accelgrad.nn.modules.linear import *  # noqa: F403
from accelgrad.nn.modules.loss import *  # noqa: F403
from accelgrad.nn.modules.module import Module as Module
from accelgrad.nn.modules.normalization import *  # noqa: F403
from accelgrad.nn.modules.padding import *  # noqa: F403
from accelgrad.nn.modules.pixelshuffle import *  # noqa: F403
from accelgrad.nn.modules.pooling import *  # noqa: F403
from accelgrad.nn.modules.rnn import *  # noqa: F403
from accelgrad.nn.modules.sparse import *  # noqa: F403
from accelgrad.nn.modules.transformer import *  # noqa: F403
from accelgrad.nn.modules.upsampling import *  # noqa: F403
