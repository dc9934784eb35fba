"""Neural networks, optional: modules are pytrees of Tensors, names and shapes are PyTorch's, weights are float64.

>>> import difftensor as dif, optim
>>> from difftensor import nn
>>> net = nn.Sequential(nn.Linear(2, 16, rng=0), nn.Tanh(), nn.Linear(16, 1, rng=1))
>>> optimizer = optim.Adam(net.parameters(), lr=0.01)
>>> x = dif.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
>>> y = dif.asarray([[0.0], [1.0], [1.0], [0.0]])
>>> for step in range(400):
...     loss = nn.functional.mse_loss(net(x), y)
...     optimizer.zero_grad()
...     loss.backward()
...     optimizer.step()
>>> loss.item() < 0.01
True
"""

# ruff: noqa: I001
# fmt: off

from . import data, functional, init, models
from ._activations import (
    CELU, ELU, GELU, GLU, Hardshrink, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSigmoid, LogSoftmax, Mish, PReLU,
    ReLU, ReLU6, RReLU, SELU, Sigmoid, SiLU, Softmax, Softmax2d, Softmin, Softplus, Softshrink, Softsign, Tanh,
    Tanhshrink, Threshold,
)
from ._attention import MultiheadAttention
from ._checkpoint import History
from ._containers import Lambda, ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from ._convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ._cross_entropy import CrossEntropyLoss, NLLLoss
from ._ctc import CTCLoss
from ._dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout
from ._fit import evaluate, fit
from ._folding import Fold, Unfold
from ._linear import Bilinear, CosineSimilarity, Embedding, EmbeddingBag, Flatten, Identity, Linear, Unflatten
from ._losses import (
    BCELoss, BCEWithLogitsLoss, CosineEmbeddingLoss, GaussianNLLLoss, HingeEmbeddingLoss, HuberLoss,
    KLDivLoss, L1Loss, MarginRankingLoss, MSELoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss, MultiMarginLoss,
    PairwiseDistance, PoissonNLLLoss, SmoothL1Loss, SoftMarginLoss, TripletMarginLoss,
    TripletMarginWithDistanceLoss,
)
from ._module import Module, parameter, parameter as Parameter
from ._normalization import (
    BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LayerNorm,
    LocalResponseNorm, RMSNorm,
)
from ._pooling import (
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d,
    AvgPool1d, AvgPool2d, AvgPool3d, LPPool1d, LPPool2d, LPPool3d, MaxPool1d, MaxPool2d, MaxPool3d,
)
from ._packed import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence
from ._padding import (
    CircularPad1d, CircularPad2d, CircularPad3d, ConstantPad1d, ConstantPad2d, ConstantPad3d, ReflectionPad1d,
    ReflectionPad2d, ReflectionPad3d, ReplicationPad1d, ReplicationPad2d, ReplicationPad3d, ZeroPad1d, ZeroPad2d,
    ZeroPad3d,
)
from ._parametrized import (
    is_parametrized, orthogonal, parameters_to_vector, register_parametrization, remove_parametrizations, spectral_norm,
    vector_to_parameters, weight_norm,
)
from ._recurrent import GRU, GRUCell, LSTM, LSTMCell, RNN, RNNCell
from ._resampling import (
    ChannelShuffle, PixelShuffle, PixelUnshuffle, Upsample, UpsamplingBilinear2d, UpsamplingNearest2d,
)
from ._transformer import (
    Transformer, TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer,
)
from ._unpooling import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d

__all__ = [name for name in dir() if not name.startswith("_")]
