"""The networks that are functions of the package, by whose they are."""

import keras_ratn
from keras_ratn.models.named import NETWORKS

_FUNCTIONS = {
    network.name: network.build
    for network in NETWORKS.values()
    if hasattr(keras_ratn, network.name)
}
BUILDERS = {
    name: build
    for name, build in _FUNCTIONS.items()
    if name.lower() in keras_ratn.VARIANTS
}
FAMILY_BUILDERS = {
    name: build for name, build in _FUNCTIONS.items() if name not in BUILDERS
}
