"""CIFAR-10 by a recipe of today: cosine, warm-up, mixing, averaged weights.

    ratn train cifar10_modern

No figure of the paper belongs to it. It differs from `cifar10` by a cosine
schedule with 5 epochs of warm-up, batches of 128, MixUp, CutMix, erased
patches in half of the images, label smoothing, an average of the weights (with
batch statistics of its own) and bfloat16. Keras's RandAugment is left out
because it switches XLA off for the whole model.
"""

from ..config import AugmentationConfig
from ..config import DataConfig
from ..config import Experiment
from ..config import OptimizerConfig
from ..config import RuntimeConfig

CONFIG = Experiment(
    model="CifarAttention92",
    epochs=220,
    batch_size=128,
    label_smoothing=0.1,
    data=DataConfig(
        source="tfds", location="cifar10", validation_fraction=0.02
    ),
    augmentation=AugmentationConfig(cutout=0.5, mixup=0.2, cutmix=True),
    optimizer=OptimizerConfig(
        schedule="cosine",
        warmup_epochs=5,
        learning_rate_batch=128,
        weight_decay=5e-4,
        ema=0.999,
    ),
    runtime=RuntimeConfig(precision="mixed_bfloat16"),
)
