"""CIFAR-10 on a laptop: a small network that learns in three epochs.

    ratn train cifar10_small

The network is `half`: CIFAR's skeleton at half its width, 218,000 parameters.
On two AVX2 cores it took 18 minutes and 43 seconds: 41, 65 and 72 % of the
validation images right after 6, 13 and 18 minutes, 72.8 % of the test images.
A run of four epochs took 23:48 and reached 75.6 %.
"""

from ..config import DataConfig
from ..config import Experiment
from ..config import OptimizerConfig

CONFIG = Experiment(
    model="half",
    epochs=3,
    batch_size=128,
    data=DataConfig(
        source="tfds", location="cifar10", validation_fraction=0.04
    ),
    optimizer=OptimizerConfig(
        schedule="cosine", warmup_epochs=1, weight_decay=5e-4
    ),
)
