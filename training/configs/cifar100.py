"""CIFAR-100 as in the paper, by the same recipe as CIFAR-10.

    ratn train cifar100
    ratn train cifar100 --model CifarAttention236

The paper's test errors: 21.71 % (92), 21.16 % (236), 20.45 % (452). The
network and its cost are those of CIFAR-10.
"""

import dataclasses

from ..config import DataConfig
from .cifar10 import CONFIG as CIFAR10

CONFIG = dataclasses.replace(
    CIFAR10,
    model="CifarAttention92",
    data=DataConfig(source="tfds", location="cifar100"),
)
