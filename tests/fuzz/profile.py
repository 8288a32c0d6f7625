"""How many cases a fuzz test runs, and what became of them."""

import collections
import contextlib
import os

import hypothesis
import keras

# Cases of each test, by hand; without it a few, and always the same.
CASES = int(os.environ.get("RATN_FUZZ", "0"))

# test -> outcome -> number of cases, for the summary.
TALLY = collections.defaultdict(collections.Counter)


def cases(few):
    """Settings of a fuzz test.

    Args:
        few: Integer. Cases in the default run.
    """
    return hypothesis.settings(
        max_examples=CASES or few,
        derandomize=not CASES,
        database=None,  # what fails becomes a test with a name
        deadline=None,
        print_blob=True,
        # Building a network takes as long as it takes, and a folder per case
        # is made by the test itself.
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def count(test, outcome):
    """Notes what became of a case."""
    TALLY[test][outcome] += 1


@contextlib.contextmanager
def globally(policy, layout):
    """Keras as another user has set it up; both settings come back."""
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(layout)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])
