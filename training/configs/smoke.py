"""A tiny network on scikit-learn's digits: does everything work here?

    ratn train smoke

Downloads nothing and takes well under a minute on two processor cores.
"""

from ..config import AugmentationConfig
from ..config import DataConfig
from ..config import Experiment
from ..config import OptimizerConfig

CONFIG = Experiment(
    model="smallest",
    epochs=6,
    batch_size=64,
    data=DataConfig(source="digits", validation_fraction=0.1),
    # A mirrored digit is not a digit.
    augmentation=AugmentationConfig(flip=False),
    optimizer=OptimizerConfig(schedule="cosine", warmup_epochs=1),
)
