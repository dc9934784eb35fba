"""The layers as functions of arrays, without parameters of their own; PyTorch's names and arguments."""

# ruff: noqa: F401, I001
# fmt: off

from ._activations import (
    celu, elu, gelu, glu, gumbel_softmax, hardshrink, hardsigmoid, hardswish, hardtanh, leaky_relu, log_softmax,
    logsigmoid, mish, normalize, prelu, relu, relu6, rrelu, selu, sigmoid, silu, softmax, softmax2d, softmin, softplus,
    softshrink, softsign, tanh, tanhshrink, threshold,
)
from ._attention import scaled_dot_product_attention
from ._cells import gru_cell, lstm_cell, rnn_cell
from ._convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from ._cross_entropy import cross_entropy, nll_loss
from ._ctc import ctc_loss
from ._dropout import alpha_dropout, dropout, feature_alpha_dropout, feature_dropout
from ._folding import fold, unfold
from ._grid import affine_grid, grid_sample
from ._linear import bilinear, cosine_similarity, embedding, embedding_bag, linear, one_hot
from ._losses import (
    binary_cross_entropy, binary_cross_entropy_with_logits, cosine_embedding_loss, gaussian_nll_loss,
    hinge_embedding_loss, huber_loss, kl_div, l1_loss, margin_ranking_loss, mse_loss, multi_margin_loss,
    multilabel_margin_loss, multilabel_soft_margin_loss, poisson_nll_loss, smooth_l1_loss, soft_margin_loss,
    triplet_margin_loss, pairwise_distance, triplet_margin_with_distance_loss,
)
from ._normalization import batch_norm, group_norm, instance_norm, layer_norm, local_response_norm, rms_norm
from ._padding import pad
from ._pooling import (
    adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, adaptive_max_pool1d, adaptive_max_pool2d,
    adaptive_max_pool3d, avg_pool1d, avg_pool2d, avg_pool3d, lp_pool1d, lp_pool2d, lp_pool3d, max_pool1d, max_pool2d,
    max_pool3d,
)
from ._unpooling import max_unpool1d, max_unpool2d, max_unpool3d
from ._resampling import channel_shuffle, interpolate, pixel_shuffle, pixel_unshuffle

__all__ = [name for name in dir() if not name.startswith("_")]
