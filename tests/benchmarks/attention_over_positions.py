"""Memory and time of attention over positions against the size of the map:

    KERAS_BACKEND=torch python -m tests.benchmarks.attention_over_positions

Memory is by how much the process's resident memory peaks above where it stood
before one forward pass of batch 1 (Linux only). Time is the median of a few
runs. Growth is by how much both rise when the positions become four times as
many: 4 is linear, 16 quadratic. Small maps fit into memory that the process
holds already, so the large ones tell. PyTorch computes the layers operation
by operation; XLA may never hold all scores at once.
"""

import argparse
import statistics
import time

import numpy as np

CHANNELS = 32
SIZES = (16, 32, 64, 128)
RUNS = 5

# short name -> (options, how it grows by its paper)
ATTENTIONS = {
    "position": ({}, "quadratic"),
    "emsa": ({"num_heads": 2, "spatial_reduction_ratio": 8}, "quadratic / 64"),
    "channel_affinity": ({}, "linear"),
    "external": ({}, "linear"),
    "multi_head_external": ({"num_heads": 4}, "linear"),
    "dual": ({"classes": 4}, "quadratic"),
    "pixel": ({}, "linear"),
    "spatial_transformer": ({}, "linear"),
}


def forward_pass(name, options, size):
    """A function that computes the layer's output, built and run once."""
    from keras import ops

    from keras_ratn import layers

    layer = layers.get(name, **options)
    shape = (1, size, size, CHANNELS)
    if name == "multi_head_external":
        shape = (1, size * size, CHANNELS)
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    x = ops.convert_to_tensor(x)

    def run():
        return ops.convert_to_numpy(layer(x))

    run()
    return run


def memory_status(field):
    """A field of the process's status, in mebibytes."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) / 1024


def measure(run):
    """Mebibytes at the peak, above those before, and milliseconds."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forgets the highest resident size so far
    before = memory_status("VmRSS")
    run()
    memory = max(memory_status("VmHWM") - before, 0.0)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return memory, 1000 * statistics.median(times)


def main():
    """Prints one line for each attention and size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    sizes = parser.parse_args().sizes
    print(f"{'attention':20} {'size':>5} {'MiB':>9} {'ms':>9}  growth MiB, ms")
    for name, (options, expected) in ATTENTIONS.items():
        before = None
        for size in sizes:
            memory, milliseconds = measure(forward_pass(name, options, size))
            growth = f"by its paper: {expected}"
            if before is not None:
                more = memory / before[0] if before[0] >= 1 else float("nan")
                growth = f"{more:.1f}, {milliseconds / before[1]:.1f}"
            print(
                f"{name:20} {size:5} {memory:9.2f} {milliseconds:9.2f}  "
                f"{growth}",
                flush=True,
            )
            before = memory, milliseconds


if __name__ == "__main__":
    main()
