"""What `import keras_ratn`, `ratn --help` and building Attention56 cost,
against Keras's own:

    python -m tests.benchmarks.import_and_build

Interleaved runs, the best of each: the machine may be shared.
"""

import subprocess
import sys
import time

REPEATS = 5


def _seconds(*command):
    start = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def _best_of_each(commands, repeats=REPEATS):
    times = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            times[name].append(_seconds(sys.executable, *command))
    return {name: min(values) for name, values in times.items()}


def imports():
    """Prints the cost of importing and of `ratn --help`."""
    best = _best_of_each(
        {
            "import keras": ("-c", "import keras"),
            "import keras_ratn": ("-c", "import keras_ratn"),
            "ratn --help": ("-m", "keras_ratn", "--help"),
        }
    )
    for name, seconds in best.items():
        print(f"{name}: {seconds:.2f} s")
    added = best["import keras_ratn"] - best["import keras"]
    print(f"import keras_ratn adds {added:.2f} s (wanted: at most 0.2)")
    ratio = best["ratn --help"] / best["import keras"]
    print(f"ratn --help costs {ratio:.2f} times (wanted: at most 1.3)")


def builds():
    """Prints the cost of building Attention56 and ResNet50, interleaved."""
    import keras

    import keras_ratn

    builders = {
        "ResNet50": lambda: keras.applications.ResNet50(weights=None),
        "Attention56": keras_ratn.Attention56,
    }
    times = {name: [] for name in builders}
    for _ in range(REPEATS):
        for name, builder in builders.items():
            start = time.perf_counter()
            builder()
            times[name].append(time.perf_counter() - start)
    best = {name: min(values) for name, values in times.items()}
    for name, seconds in best.items():
        print(f"{name}: {seconds:.2f} s")
    ratio = best["Attention56"] / best["ResNet50"]
    print(f"Attention56 takes {ratio:.2f} times (wanted: at most 3)")


if __name__ == "__main__":
    imports()
    builds()
