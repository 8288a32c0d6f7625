"""From what a `DataConfig` names to batches of images."""

from .batches import check_alternating as check_alternating
from .batches import epoch_order as epoch_order
from .batches import evaluation_batches as evaluation_batches
from .batches import EvaluationBatches as EvaluationBatches
from .batches import mirrored as mirrored
from .batches import num_steps as num_steps
from .batches import replace_unreadable as replace_unreadable
from .batches import training_arrays as training_arrays
from .batches import training_batches as training_batches
from .labels import noisy_labels as noisy_labels
from .sources import load_source as load_source
from .split import array_split as array_split
from .split import hold_out as hold_out
from .split import own_errors as own_errors
from .split import random as random
from .split import Source as Source
from .split import Split as Split
from .stream import Stream as Stream
