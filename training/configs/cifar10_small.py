"""CIFAR-10 on a laptop: a small network that learns in four epochs.

    ratn train cifar10_small

The network is `half`: CIFAR's skeleton at half its width, 218,000 parameters.
A training step takes about 9 ms of one processor core for each image, so the
run takes half an hour of processor time, divided by the cores that it gets.
"""

from ..config import DataConfig
from ..config import Experiment
from ..config import OptimizerConfig

CONFIG = Experiment(
    model="half",
    epochs=4,
    batch_size=128,
    data=DataConfig(
        source="tfds", location="cifar10", validation_fraction=0.04
    ),
    optimizer=OptimizerConfig(
        schedule="cosine", warmup_epochs=1, weight_decay=5e-4
    ),
)
