"""ImageNet as in the paper: Attention-56 at 224 pixels.

    ratn train imagenet
    ratn train imagenet --model Attention92

The paper's single-crop errors: 21.76 % top-1, 5.9 % top-5 (56). Its recipe:
530,000 steps, rate 0.1, a tenth of it after 200,000, 400,000 and 500,000.
Batch size and weight decay are not stated there; 256 and 1e-4 are the usual
ones. The random crops of the scale and aspect augmentation are taken from the
224-pixel centre on the device, not from the full image.

TFDS has to have `imagenet2012` prepared: its archives are downloaded by hand
(`ratn train` says where to put them). Plan for several GPUs and many days.
"""

from ..config import AugmentationConfig
from ..config import DataConfig
from ..config import Experiment
from ..config import OptimizerConfig

CONFIG = Experiment(
    model="Attention56",
    # 5,004 full batches of 256 in 1,281,167 images: 530,424 steps.
    epochs=106,
    batch_size=256,
    data=DataConfig(
        source="tfds",
        location="imagenet2012",
        test_split="validation",
        image_size=224,
    ),
    augmentation=AugmentationConfig(shift=0.0, min_area=0.08, color=0.2),
    optimizer=OptimizerConfig(
        learning_rate_batch=256, step_at=(200 / 530, 400 / 530, 500 / 530)
    ),
)
