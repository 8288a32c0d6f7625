"""CIFAR-10 in 12 epochs: what a processor without an accelerator can do.

    ratn train cifar10_short

Attention-56 with one rise and one fall of the learning rate, shifts and
mirroring. 5,000 of the training images are held out. At 70 to 80 images a
second (two cores of an AMD EPYC with AVX2) it takes about two hours; stopped
and started again, it goes on from its last epoch.
"""

from ..config import DataConfig
from ..config import Experiment
from ..config import OptimizerConfig

CONFIG = Experiment(
    model="CifarAttention56",
    epochs=12,
    batch_size=64,
    label_smoothing=0.1,
    data=DataConfig(source="tfds", location="cifar10", validation_fraction=0.1),
    optimizer=OptimizerConfig(
        schedule="cosine", warmup_epochs=2, weight_decay=5e-4
    ),
)
