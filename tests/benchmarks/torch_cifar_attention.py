"""CifarAttention-56 and -92 in PyTorch, to compare speeds with.

Plain modules, as one writes them there; `tests/benchmarks/
cifar_speed_against_pytorch.py` checks that it has our parameters, to the last
one, and that it computes our outputs from our weights.
"""

import torch
from torch import nn
from torch.nn import functional

from tests.shape_seeded import value_for

EPSILON = 1e-5


def convolution(inputs, outputs, size=1, stride=1):
    padding = size // 2
    return nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)


def normalization(channels):
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=0.1)


class Unit(nn.Module):
    """Pre-activation bottleneck."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        inner = outputs // 4
        self.bn1 = normalization(inputs)
        self.conv1 = convolution(inputs, inner)
        self.bn2 = normalization(inner)
        self.conv2 = convolution(inner, inner, 3, stride)
        self.bn3 = normalization(inner)
        self.conv3 = convolution(inner, outputs)
        self.projection = None
        if stride > 1 or inputs != outputs:
            self.projection = convolution(inputs, outputs, 1, stride)

    def forward(self, inputs):
        activated = functional.relu(self.bn1(inputs))
        shortcut = inputs
        if self.projection is not None:
            shortcut = self.projection(activated)
        x = self.conv1(activated)
        x = self.conv2(functional.relu(self.bn2(x)))
        x = self.conv3(functional.relu(self.bn3(x)))
        return x + shortcut


class SoftMask(nn.Module):
    """Down `depth` times, up as often, with units beside; then the head."""

    def __init__(self, channels, depth):
        super().__init__()
        self.down = nn.ModuleList(
            Unit(channels, channels) for _ in range(depth)
        )
        self.bottom = Unit(channels, channels)
        self.skip = nn.ModuleList(
            Unit(channels, channels) for _ in range(depth - 1)
        )
        self.up = nn.ModuleList(
            Unit(channels, channels) for _ in range(depth - 1)
        )
        self.head = nn.Sequential(
            normalization(channels),
            nn.ReLU(),
            convolution(channels, channels),
            normalization(channels),
            nn.ReLU(),
            convolution(channels, channels),
            nn.Sigmoid(),
        )

    def forward(self, x):
        sizes, kept = [], []
        for unit in self.down:
            sizes.append(x.shape[2:])
            # Keras's "same" pads even sizes on the right and bottom only.
            x = functional.pad(x, (0, 1, 0, 1), value=float("-inf"))
            x = unit(functional.max_pool2d(x, 3, 2))
            kept.append(x)
        x = self.bottom(x)
        for level in reversed(range(len(sizes))):
            x = functional.interpolate(x, sizes[level], mode="bilinear")
            if level > 0:
                x = self.up[level - 1](
                    x + self.skip[level - 1](kept[level - 1])
                )
        return self.head(x)


class AttentionModule(nn.Module):
    """(1 + M) * T between a unit before and a unit after."""

    def __init__(self, channels, depth):
        super().__init__()
        self.before = Unit(channels, channels)
        self.mask = SoftMask(channels, depth)
        self.trunk = nn.Sequential(
            Unit(channels, channels), Unit(channels, channels)
        )
        self.after = Unit(channels, channels)

    def forward(self, x):
        x = self.before(x)
        mask = self.mask(x)
        x = self.trunk(x)
        return self.after(x * mask + x)


class CifarAttention(nn.Module):
    """Logits for normalised images `(batch, 3, 32, 32)`.

    With `modules` in its three stages: (1, 1, 1) is Attention-56, (2, 2, 2)
    Attention-92.
    """

    def __init__(self, modules=(1, 1, 1), classes=10):
        super().__init__()
        layers, channels = [convolution(3, 16, 3)], 16
        for filters, stride, depth, count in zip(
            (64, 128, 256), (1, 2, 2), (3, 2, 1), modules
        ):
            layers += [
                Unit(channels, filters, stride),
                *(AttentionModule(filters, depth) for _ in range(count)),
                Unit(filters, filters),
            ]
            channels = filters
        self.features = nn.Sequential(*layers, normalization(256), nn.ReLU())
        self.classifier = nn.Linear(256, classes)

    def forward(self, x):
        return self.classifier(torch.mean(self.features(x), dim=(2, 3)))


# The tests' names of variables -> PyTorch's, of normalization and others.
_LEAVES = {
    nn.BatchNorm2d: {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    },
    nn.Conv2d: {"kernel": "weight"},
    nn.Linear: {"kernel": "weight", "bias": "bias"},
}


@torch.no_grad()
def fill(model):
    """Gives all weights their values by `tests.shape_seeded`'s rule."""
    for module in model.modules():
        for leaf, name in _LEAVES.get(type(module), {}).items():
            tensor = getattr(module, name)
            # Keras: HWIO kernels, `(inputs, outputs)` matrices.
            order = (2, 3, 1, 0) if tensor.ndim == 4 else (1, 0)
            order = order if tensor.ndim > 1 else (0,)
            shape = tuple(tensor.shape[axis] for axis in order)
            value = torch.as_tensor(value_for(leaf, shape))
            back = sorted(range(len(order)), key=order.__getitem__)
            tensor.copy_(value.permute(back))
    return model
