"""`ratn benchmark`: size, latency, memory and operations of exported files."""

import collections
import json
import pathlib
import platform
import subprocess
import sys

from keras_ratn import command

from . import flatbuffer
from . import probe
from .errors import EXPECTED
from .published import publishing

THREADS = (1, 2, 4)
# Instructions that multiply 8-bit integers, as Linux names them.
INT8_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def int8_instructions():
    """The processor's instructions for products of 8-bit integers."""
    cpu = pathlib.Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() else set()
    found = [name for name in INT8_INSTRUCTIONS if name in flags]
    if found:
        return ", ".join(found)
    widest = next((f for f in ("avx512bw", "avx2") if f in flags), "unknown")
    return f"none of {', '.join(INT8_INSTRUCTIONS)}; widest: {widest}"


def benchmark(paths, num_runs=30, threads=THREADS):
    """Measures `.tflite` files, each run in a process of its own.

    The files take turns at each number of threads, so that a disturbance of
    the machine does not hit one of them alone.

    Args:
        paths: List of paths.
        num_runs: Integer. Runs after the first. Defaults to `30`.
        threads: Tuple of integers. Defaults to `(1, 2, 4)`.

    Returns:
        Dict with `machine` and `files`: for each file its size, operations by
        name and type, and one entry in `runs` for each number of threads.
    """
    for path in paths:
        if not pathlib.Path(path).is_file():
            raise ValueError(
                "There must be .tflite files to measure. Received: "
                f"{str(path)!r}, which does not exist."
            )
    files = {
        str(path): {
            "bytes": pathlib.Path(path).stat().st_size,
            "operations": operation_table(path),
            "runs": [],
        }
        for path in paths
    }
    for number in threads:
        for path, entry in files.items():
            entry["runs"].append(_probe(path, number, num_runs))
    machine = {
        "processor": platform.processor() or platform.machine(),
        "int8_instructions": int8_instructions(),
    }
    return {"machine": machine, "files": files}


def operation_table(path):
    """How often each operation occurs, by `NAME (type of its first output)`."""
    return dict(
        collections.Counter(
            f"{operation.name} ({operation.outputs[0].lower()})"
            for operation in flatbuffer.operations(path)
        ).most_common()
    )


def _probe(path, threads, num_runs):
    words = [sys.executable, probe.__file__, path, threads, num_runs]
    result = subprocess.run(
        list(map(str, words)), capture_output=True, text=True
    )
    if result.returncode:
        raise ValueError(
            f"LiteRT cannot run {path!r}. It said: {result.stderr[-500:]}"
        )
    return json.loads(result.stdout.splitlines()[-1])


def plot(results, path):
    """Draws median latencies at each number of threads.

    Args:
        results: Dict that `benchmark` returned.
        path: Path of the PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.5 + 0.8 * len(results["files"])))
    axes = figure.subplots()
    positions, names = [], []
    for row, (file, entry) in enumerate(results["files"].items()):
        height = 0.8 / len(entry["runs"])
        for index, run in enumerate(entry["runs"]):
            y = row + index * height
            axes.barh(y, run["median_ms"], height, color=f"C{index}")
            text = f"{run['median_ms']:.1f} ms, {run['threads']} threads"
            axes.text(run["median_ms"], y, f" {text}", va="center", size=8)
        positions.append(row + 0.4 - height / 2)
        names.append(
            f"{pathlib.Path(file).name}\n{entry['bytes'] / 1e6:.2f} MB"
        )
    axes.set_yticks(positions, names, parse_math=False)  # $ is no formula
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set_xlabel("median latency (ms)")
    axes.set_title(results["machine"]["int8_instructions"], size=8)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main(arguments=None):
    """Runs `ratn benchmark`.

    Args:
        arguments: Optional list of strings. Defaults to the command line's.

    Returns:
        Integer exit status: 0 when all files were measured.
    """
    parser = command.Parser(
        prog="ratn benchmark",
        description="Measures LiteRT files on this machine.",
    )
    parser.add_argument("files", nargs="+", help=".tflite files")
    parser.add_argument(
        "--runs", type=int, default=30, help="of each file (default: 30)"
    )
    parser.add_argument(
        "--output",
        default="benchmark.json",
        help="JSON file; the PNG goes beside it (default: benchmark.json)",
    )
    options = parser.parse_args(arguments)
    target = pathlib.Path(options.output)
    try:
        results = benchmark(options.files, options.runs)
        with publishing(target) as scratch:
            text = json.dumps(results, indent=2)
            (scratch / target.name).write_text(text + "\n")
            plot(results, scratch / target.with_suffix(".png").name)
    except EXPECTED as error:
        return command.fail("ratn benchmark", error)
    print(_table(results))
    return 0


def _table(results):
    lines = [f"int8 instructions: {results['machine']['int8_instructions']}"]
    for file, entry in results["files"].items():
        lines.append(f"{file}: {entry['bytes'] / 1e6:.3f} MB")
        for run in entry["runs"]:
            lines.append(
                "  {threads} threads: load {load_ms:.1f} ms, first "
                "{first_ms:.1f} ms, median {median_ms:.2f} ms".format(**run)
                + f", peak {run['peak_memory_bytes'] / 1e6:.0f} MB"
            )
        operations = ", ".join(
            f"{number} {name}" for name, number in entry["operations"].items()
        )
        lines.append(f"  {operations}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
