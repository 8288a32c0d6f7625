"""Times one `.tflite` file in a process of its own, so that memory is its own.

Run as a script: `python probe.py FILE THREADS RUNS`. Imports nothing of the
package; prints JSON.
"""

import json
import resource
import sys
import time


def probe(path, num_threads, num_runs):
    """Load time, latencies and memory of a file."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    before = _peak_bytes()
    start = time.perf_counter()
    interpreter = Interpreter(model_path=path, num_threads=num_threads)
    interpreter.allocate_tensors()
    loaded = time.perf_counter()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        values = rng.uniform(0, 255, detail["shape"])
        if detail["dtype"] == np.int8:
            values -= 128
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    times = []
    for _ in range(num_runs + 1):
        begin = time.perf_counter()
        interpreter.invoke()
        times.append(1000 * (time.perf_counter() - begin))
    return {
        "threads": num_threads,
        "load_ms": 1000 * (loaded - start),
        "first_ms": times[0],
        "median_ms": float(np.median(times[1:])),
        "best_ms": min(times[1:]),
        "peak_memory_bytes": _peak_bytes() - before,
    }


def _peak_bytes():
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    file, threads, runs = sys.argv[1:]
    print(json.dumps(probe(file, int(threads), int(runs))))
