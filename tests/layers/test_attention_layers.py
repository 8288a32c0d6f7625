import pytest
from layer_checks import check_layer

from keras_ratn.layers import AttentionModule
from keras_ratn.layers import BilinearUpsampling2D
from keras_ratn.layers import LocalConvolutionMask
from keras_ratn.layers import MaskActivation
from keras_ratn.layers import SoftMaskBranch
from keras_ratn.layers import TransposedUpsampling2D


@pytest.mark.parametrize(
    "interpolation", ["bilinear", "bilinear_align_corners", "transpose"]
)
def test_soft_mask(interpolation):
    check_layer(
        SoftMaskBranch,
        {"mask_depth": 2, "interpolation": interpolation},
        (2, 7, 6, 8),
        (2, 7, 6, 8),
    )


@pytest.mark.parametrize("mode", ["mixed", "channel", "spatial"])
def test_act(mode):
    check_layer(
        MaskActivation,
        {"mode": mode},
        (2, 7, 6, 8),
        (2, 7, 6, 8),
        training_step=False,
    )


def test_local():
    check_layer(LocalConvolutionMask, {}, (2, 7, 6, 8), (2, 7, 6, 8))


@pytest.mark.parametrize(
    "kw",
    [
        dict(),
        dict(remat=True),
        dict(attention_learning="naive", unit="resnext"),
    ],
)
def test_mod(kw):
    check_layer(
        AttentionModule,
        dict(filters=8, mask_depth=1, **kw),
        (2, 7, 6, 4),
        (2, 7, 6, 8),
    )
    check_layer(
        AttentionModule,
        dict(filters=8, mask_depth=1, **kw),
        (2, 7, 6, 4),
        (2, 7, 6, 8),
        call_kwargs={"return_attention_mask": True},
    )


def test_up():
    check_layer(
        BilinearUpsampling2D,
        {},
        (2, 7, 6, 4),
        (2, 14, 12, 4),
        training_step=False,
    )
    check_layer(
        BilinearUpsampling2D,
        {"align_corners": True},
        (2, 7, 6, 4),
        (2, 14, 12, 4),
        training_step=False,
    )
    check_layer(TransposedUpsampling2D, {}, (2, 7, 6, 4), (2, 14, 12, 4))
