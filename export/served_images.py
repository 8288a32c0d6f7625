"""Encoded images as a model takes them, in TensorFlow's own operations."""

# Shares of red, green and blue in grey, as Pillow has them: of 2^16.
_GREY = (19595, 38470, 7471)


def decoded(encoded_images, shape):
    """Decodes files of images, scales them and takes their centres.

    Args:
        encoded_images: String tensor `(batch_size,)`, the contents of files.
        shape: Triple of integers, `(height, width, channels)`; there are one
            (grey), three, or four channels (with opacity).

    Returns:
        Pair of a float32 tensor of pixels 0-255 and a boolean one: which of
        the files could be read. In place of the others there are zeros.
    """
    import tensorflow as tf

    unreadable = tf.data.Dataset.from_tensors((tf.zeros(shape), False))

    def decode(file):
        return _fitted(_pixels(file, shape[-1]), *shape), True

    def decode_or_not(file):
        # In a graph, only data sets outlive an error in one of their steps.
        images = tf.data.Dataset.from_tensors(file).map(decode)
        images = images.ignore_errors().concatenate(unreadable)
        return images.take(1).get_single_element()

    return tf.map_fn(
        decode_or_not,
        encoded_images,
        fn_output_signature=(
            tf.TensorSpec(shape, tf.float32),
            tf.TensorSpec((), tf.bool),
        ),
    )


def _pixels(file, channels):
    """A file's pixels, in as many channels as wanted.

    Not all formats can be decoded to a number of channels other than theirs,
    and some PNGs are then decoded wrongly.
    """
    import tensorflow as tf

    image = tf.cond(
        tf.io.is_jpeg(file),
        # As Pillow decodes them in training.
        lambda: tf.io.decode_jpeg(file, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(file, expand_animations=False),
    )
    own = tf.shape(image)[-1]  # grey or colours, with opacity or without
    colours = tf.cond(
        own < 3,
        lambda: tf.repeat(image[..., :1], 3, axis=-1),
        lambda: image[..., :3],
    )
    if channels == 1:
        return _grey(colours)
    if channels == 3:
        return colours
    opacity = tf.cond(
        own % 2 == 0,
        lambda: image[..., -1:],
        lambda: tf.fill(tf.shape(image[..., :1]), tf.constant(255, tf.uint8)),
    )
    return tf.concat([colours, opacity], axis=-1)


def _grey(colours):
    import tensorflow as tf

    grey = tf.tensordot(tf.cast(colours, tf.int32), _GREY, 1)[..., None]
    return tf.cast((grey + 2**15) // 2**16, tf.uint8)


def _fitted(image, height, width, channels):
    """The centre, scaled so that the image just covers the model's size.

    Only what is left is computed: of an image a pixel high and thousands wide
    the rest would be a thousand times more.
    """
    import tensorflow as tf

    target = (height, width)
    actual = tf.cast(tf.shape(image)[:2], tf.float64)
    scaled = tf.round(tf.reduce_max(target / actual) * actual)
    scaled = tf.maximum(scaled, target)
    corner = (scaled - target) // 2
    # What `tf.image.resize` calls; that wants the whole image.
    fitted = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=target,
        scale=tf.cast(scaled / actual, tf.float32),
        translation=-tf.cast(corner, tf.float32),
        kernel_type="triangle",
        # Without antialiasing a large photo would lose most of its pixels.
        antialias=True,
    )[0]
    fitted = tf.clip_by_value(tf.round(fitted), 0, 255)
    return tf.ensure_shape(fitted, (height, width, channels))
