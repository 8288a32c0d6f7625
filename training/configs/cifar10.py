"""CIFAR-10 as in the paper: Attention-56, then its deeper sisters.

    ratn train cifar10
    ratn train cifar10 --model CifarAttention92
    ratn train cifar10 --data.source npz --data.location cifar10.npz

The paper's test errors: 5.52 % (56), 4.99 % (92), 4.14 % (236). Its recipe:
160,000 steps of 64 images, all 50,000 training images, shifts by up to 4
pixels and mirroring, Nesterov momentum, rate 0.1, a tenth of it after 64,000
and again after 96,000 steps. At about 100 images a second that is 28 hours
for Attention-56 on two processor cores; use a GPU.
"""

from ..config import DataConfig
from ..config import Experiment

CONFIG = Experiment(
    model="CifarAttention56",
    # 781 full batches of 64 in 50,000 images: 160,105 steps.
    epochs=205,
    batch_size=64,
    data=DataConfig(source="tfds", location="cifar10"),
)
