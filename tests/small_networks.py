"""Every network that has a name, as small as its kind allows."""

import contextlib
import dataclasses
from unittest import mock

import keras_ratn
from keras_ratn.models import eamlp
from keras_ratn.models import epsanet
from keras_ratn.models import resnet
from keras_ratn.models import rest
from keras_ratn.models import scnet
from keras_ratn.models import segmentation

CLASSES = 5


def _small_attention(row):
    return dataclasses.replace(
        row,
        stem_filters=8,
        stage_filters=(8, 16),
        num_modules=(1, 1),
        mask_depths=(2, 1),
        num_closing_units=min(1, row.num_closing_units),
        tail_filters=row.tail_filters and 16,
        num_tail_units=min(1, row.num_tail_units),
        num_pre_units=1,
        num_trunk_units=1,
        num_mask_units=1,
    )


def _small_residual(row):
    # A pyramid's branches have up to 16 groups.
    widths = (64, 64) if row.attention == "psa" else (16, 32)
    return dataclasses.replace(
        row, num_blocks=(1, 1), widths=widths, stem_filters=16
    )


def _small_rest(row):
    return dataclasses.replace(
        row, widths=(8, 16, 16, 32), num_blocks=(1, 1, 1, 1)
    )


def _small_eamlp(row):
    return dataclasses.replace(
        row, width=16, num_blocks=2, num_heads=2, mlp_ratio=2, token_width=8
    )


TABLES = (
    (keras_ratn.VARIANTS, _small_attention),
    (resnet.RESNETS, _small_residual),
    (scnet.SCNETS, _small_residual),
    (epsanet.EPSANETS, _small_residual),
    (rest.RESTS, _small_rest),
    (eamlp.EAMLPS, _small_eamlp),
    (segmentation._STAGES, lambda row: (1, 1)),
)


def kinds():
    """Names of networks that differ in more than depth and width.

    Those that are no functions of the package are further rows of the same.
    """
    rows = {
        name: repr(small(row))
        for table, small in TABLES
        for name, row in table.items()
    }
    first = {}
    names = filter(keras_ratn.__dict__.get, keras_ratn.list_models())
    for name in sorted(names, key=len):
        kind = name.rstrip("0123456789")
        first.setdefault(rows.get(name.lower(), kind), name)
    return sorted(first.values())


def small_network(name, size=(40, 48), **options):
    """The named network with few and narrow layers, on images of `size`."""
    shape = (*size, options.pop("channels", 3))
    options.setdefault("input_shape", shape)
    with contextlib.ExitStack() as stack:
        for table, small in TABLES:
            rows = {key: small(row) for key, row in table.items()}
            stack.enter_context(mock.patch.dict(table, rows))
        return keras_ratn.create_model(name, **{"classes": CLASSES, **options})
