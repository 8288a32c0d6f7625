"""Keras's global settings, held for a while and given back."""

import contextlib

import keras


@contextlib.contextmanager
def standard_settings(dtype="float32", data_format="channels_last"):
    """Makes layers as this package means them, whatever the user has set.

    A layer that does not say its dtype or layout takes the global one, and
    some of Keras's own, such as `Rescaling`, look at the global layout each
    time they are called. What makes or calls such layers runs in here; both
    settings are the user's again afterwards, also after an error. `floatx`
    stays as it is.

    Args:
        dtype: String or `keras.DTypePolicy`. Defaults to `"float32"`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to `"channels_last"`.

    Example:

    >>> with standard_settings():
    ...     layer = keras.layers.Conv2D(8, 3)

    It decorates functions, too:

    >>> @standard_settings()
    ... def convolution():
    ...     return keras.layers.Conv2D(8, 3)
    """
    policy = keras.config.dtype_policy()
    layout = keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy(dtype)
        keras.config.set_image_data_format(data_format)
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(layout)
