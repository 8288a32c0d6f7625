"""Pictures and numbers of what the attention of a network does."""

import keras
import numpy as np
from keras import ops

from keras_ratn import _attention_views
from keras_ratn.layers import _common

# Blue, cyan, yellow, red: low to high, over a picture.
_HEAT = np.array(
    [[0, 0, 128], [0, 128, 255], [128, 255, 128], [255, 200, 0], [200, 0, 0]]
)


def attention_masks(model, images, batch_size=32):
    """Computes what each attention of a network weighs some images by.

    Works on any model that holds Attention Modules or other attention layers
    of this package, just built or loaded from a file, also inside a nested
    model; the model is not altered. Attention inside units is not shown.

    A gate (`BottleneckAttentionModule`, `SqueezeExcite`, ...) shows its mask;
    a mask that weighs whole channels has height and width 1. Attention over
    positions shows how much each position is attended to, on average over
    those that attend, with one channel for each head; external attention, how
    much each position looks up each slot of the memory, with one channel for
    each slot. Layers on tokens that are no map, and spatial transformers,
    have no mask to show.

    Args:
        model: Functional or sequential `keras.Model`.
        images: Array of what the model takes, usually pixels 0-255.
        batch_size: Integer. Images computed at once. Defaults to `32`.

    Returns:
        Dictionary from the layer's name (`"stage1_attention1"`, ...) to a
        float array `(images, height, width, channels)`, in the order of the
        network; channels come last in any `data_format`. The two attentions
        of a `DualAttention` are `"head/position"` and `"head/channel"`.

    Example:

    >>> import numpy as np
    >>> model = keras_ratn.CifarAttention56()
    >>> masks = keras_ratn.attention_masks(model, np.zeros((1, 32, 32, 3)))
    >>> {name: mask.shape for name, mask in masks.items()}["stage3_attention1"]
    (1, 8, 8, 256)
    """
    inputs, views = _attention_views.attention_views(model)
    outputs = {name: view["mask"] for name, view in views.items()}
    return _predict(inputs, outputs, images, batch_size)


def overlay_masks(images, masks, alpha=0.5):
    """Lays each mask over its image, as colours from blue to red.

    A mask is averaged over its channels, stretched to the range 0 to 1 within
    its image, and enlarged to the size of the image.

    Args:
        images: Array `(images, height, width, channels)` of pixels 0-255,
            with 1 or 3 channels.
        masks: Array `(images, height, width, channels)`, or the dictionary
            that `attention_masks` returns.
        alpha: Float from 0 to 1. Weight of the colours. Defaults to `0.5`.

    Returns:
        Array `(images, height, width, 3)` of `uint8` pixels, or a dictionary
        of such arrays, without the masks that weigh whole channels only.

    Example:

    >>> import numpy as np
    >>> images, masks = np.zeros((1, 8, 8, 3)), np.random.rand(1, 4, 4, 2)
    >>> keras_ratn.overlay_masks(images, masks).shape
    (1, 8, 8, 3)
    """
    if isinstance(masks, dict):
        return {
            name: overlay_masks(images, mask, alpha)
            for name, mask in masks.items()
            if not _weighs_channels(mask)
        }
    images = np.asarray(images, "float32")
    masks = np.asarray(masks, "float32")
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "`images` must have the shape (images, height, width, 1 or 3). "
            f"Received: shape={images.shape}"
        )
    if masks.ndim != 4 or len(masks) != len(images):
        raise ValueError(
            "`masks` must have the shape (images, height, width, channels) "
            f"with one mask for each of the {len(images)} images. "
            f"Received: shape={masks.shape}"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(
            f"`alpha` must lie between 0 and 1. Received: alpha={alpha}"
        )
    heat = _stretch(masks.mean(axis=-1, keepdims=True))
    heat = ops.image.resize(
        heat, images.shape[1:3], data_format="channels_last"
    )
    heat = ops.convert_to_numpy(heat)[..., 0]
    levels = np.linspace(0, 1, len(_HEAT))
    colours = np.stack(
        [np.interp(heat, levels, channel) for channel in _HEAT.T], axis=-1
    )
    mixed = (1 - alpha) * images + alpha * colours
    return np.clip(np.rint(mixed), 0, 255).astype("uint8")


def plot_attention(model, images, modules=None, path=None):
    """Draws the paper's Figure 1: image, features before, mask, features after.

    One row for each image and Attention Module, or other attention that
    `attention_masks` shows. Features and masks are averaged over their
    channels; features by their absolute value. A mask that weighs whole
    channels is drawn as a curve over the channels.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), figure 1

    Args:
        model: Functional or sequential `keras.Model`.
        images: Array of a few images as the model takes them: pixels 0-255 or,
            for a network built without preprocessing, preprocessed ones, which
            are drawn stretched to the full range.
        modules: Optional list of names of modules or attention layers, as
            `attention_masks` names them. Defaults to the last one of each
            stage.
        path: Optional file to write, such as `"attention.png"`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure_class = _figure_class()
    inputs, views = _attention_views.attention_views(model)
    modules = _chosen(modules, views)
    outputs = {
        f"{name}/{view}": views[name][view]
        for name in modules
        for view in ("before", "mask", "after")
    }
    maps = _predict(inputs, outputs, images, batch_size=32)
    pictures = _pictures(model, images)

    columns = ("image", "feature before", "mask", "feature after")
    rows = [(i, name) for i in range(len(pictures)) for name in modules]
    figure = figure_class(figsize=(8, 2 * len(rows) + 0.3))
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for row_index, (row, (index, name)) in enumerate(zip(axes, rows)):
        before, after = (
            np.abs(maps[f"{name}/{view}"][index]).mean(axis=-1)
            for view in ("before", "after")
        )
        mask = maps[f"{name}/mask"][index]
        curve = _weighs_channels(mask[None])
        mask = mask[0, 0] if curve else mask.mean(axis=-1)
        cells = (pictures[index], before, mask, after)
        for axis, cell, column in zip(row, cells, columns):
            if cell.ndim == 1:
                axis.plot(cell)
            else:
                colours = "gray" if column == "image" else "viridis"
                axis.imshow(cell, cmap=colours)
            axis.set_xticks([])
            axis.set_yticks([])
            if row_index == 0:
                axis.set_title(column)
        row[0].set_ylabel(name.replace("_", "\n"), fontsize=8)
    figure.tight_layout()
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def response_profile(model, data, batch_size=32, relative=True):
    """Measures how strongly each unit and module of the trunk responds.

    The mean absolute value of the outputs, over all images, positions and
    channels: the paper's Figure 4. With naive attention learning it fades out
    as modules are stacked; with attention residual learning it does not.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), figure 4

    Args:
        model: `keras.Model` built by this package, or loaded from a file.
        data: Array of images, or an iterable of batches, each an array or a
            tuple that begins with one.
        batch_size: Integer. Images computed at once from an array. Defaults
            to `32`.
        relative: Boolean. Whether to divide by the largest of the values.
            Defaults to `True`.

    Returns:
        Dictionary from layer names, in the order of the network, to floats.

    Example:

    >>> import numpy as np
    >>> model = keras_ratn.CifarAttention56()
    >>> profile = keras_ratn.response_profile(model, np.ones((2, 32, 32, 3)))
    >>> list(profile)[:3]
    ['stage1_unit', 'stage1_attention1', 'stage1_closing_unit1']
    """
    outputs = {
        layer.name: ops.mean(ops.abs(layer.output), axis=(1, 2, 3))
        for layer in model.layers
        if layer.name.startswith(("stage", "tail"))
    }
    if not outputs:
        raise ValueError(
            "`response_profile` needs a network of this package, with layers "
            f"named after its stages. Received: model {model.name!r}"
        )
    profiler = keras.Model(model.inputs, outputs)
    totals = dict.fromkeys(outputs, 0.0)
    count = 0
    for images in _batches(data, batch_size):
        responses = profiler.predict_on_batch(images)
        count += len(images)
        for name, values in responses.items():
            totals[name] += float(np.sum(values, dtype="float64"))
    if not count:
        raise ValueError("`data` must hold at least one image.")
    profile = {name: total / count for name, total in totals.items()}
    if not relative:
        return profile
    largest = max(profile.values())
    return {name: value / largest for name, value in profile.items()}


def _batches(data, batch_size):
    if hasattr(data, "shape"):
        for start in range(0, len(data), batch_size):
            yield data[start : start + batch_size]
        return
    for batch in data:
        yield batch[0] if isinstance(batch, (tuple, list)) else batch


def _predict(inputs, outputs, images, batch_size):
    viewer = keras.Model(inputs, outputs)
    values = viewer.predict(np.asarray(images), batch_size, verbose=0)
    return {name: values[name] for name in outputs}


def _weighs_channels(masks):
    """Whether they are `(images, 1, 1, channels)`: no pictures."""
    return np.asarray(masks).shape[1:3] == (1, 1)


def _stretch(maps):
    """Each map to the range 0 to 1."""
    low = maps.min(axis=(1, 2, 3), keepdims=True)
    high = maps.max(axis=(1, 2, 3), keepdims=True)
    return (maps - low) / np.maximum(high - low, 1e-12)


def _chosen(modules, views):
    if modules is None:
        return list({_stage(name): name for name in views}.values())
    for name in modules:
        _common.one_of("modules", name, list(views))
    return list(modules)


def _stage(name):
    """The stage of a module, with the models that it is nested in."""
    model, _, own = name.rpartition("/")
    return model, own.split("_")[0]


def _pictures(model, images):
    """`uint8` pictures, channels last, of 1, 3 or other channel counts."""
    images = np.asarray(images)
    if _attention_views.data_format_of(model) == "channels_first":
        images = np.transpose(images, (0, 2, 3, 1))
    if images.min() < 0 or images.max() <= 3:  # preprocessed: no pixels
        images = 255 * _stretch(images)
    if images.shape[-1] != 3:
        images = images[..., 0]
    return np.clip(images, 0, 255).astype("uint8")


def _figure_class():
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "`plot_attention` needs matplotlib. Install it with "
            "`pip install 'keras_ratn[plot]'`."
        ) from error
    return Figure
