"""The `ratn` command: each subcommand is imported only when it is called."""

import importlib
import os
import sys

# name -> (module, its summary in the help).
COMMANDS = {
    "demo": (
        "training.demo",
        "train, evaluate and look at a small network on real images",
    ),
    "train": ("training.train", "train a network, or resume its training"),
    "evaluate": ("training.evaluate", "measure a model file on a data set"),
    "compare": ("training.compare", "a table and a plot of several runs"),
    "compare-attention": (
        "training.compare_attention",
        "train one trunk with each attention, in one table",
    ),
    "segment": (
        "training.segmentation",
        "train a network that classifies every pixel",
    ),
    "reproduce": ("training.reproduce", "run the cells of a paper's table"),
    "export": (
        "export.convert",
        "write a model for phones (LiteRT) or servers (SavedModel, ONNX)",
    ),
    "quantize": (
        "export.quantize",
        "fine-tune a trained model for 8 bits, and compare the files",
    ),
    "verify": (
        "export.verify",
        "compare a model with a file exported from it, on real images",
    ),
    "benchmark": (
        "training.benchmark",
        "measure .tflite files, or a config's data and training",
    ),
}
FILE_BENCHMARK = "export.benchmark"


def main(arguments=None):
    """Runs the subcommand that the first argument names.

    Args:
        arguments: Optional list of strings. Defaults to the command line's.

    Returns:
        Integer exit status: 0 when all went well, 2 for a wrong command.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from keras_ratn import __version__

        print(__version__)
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(
            f"ratn: no command {name!r}. Commands: {known}. See `ratn --help`.",
            file=sys.stderr,
        )
        return 2
    # TensorFlow uses oneDNN unasked on some processors only; on the others a
    # training step of Attention56 takes a fifth less time with it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Else its log hides what a command has to say.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    module = COMMANDS[name][0]
    if name == "benchmark" and any(a.endswith(".tflite") for a in rest):
        module = FILE_BENCHMARK
    try:
        return _import(module).main(rest) or 0
    except KeyboardInterrupt:
        print(
            f"\nratn {name}: interrupted. What was finished is kept.",
            file=sys.stderr,
        )
        return 130
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "keras_ratn", "training", "export"):
            raise  # a mistake of ours
        extra = module.partition(".")[0].replace("training", "train")
        print(
            f"ratn {name}: {error}. The command needs "
            f'`pip install "keras_ratn[{extra}]"`.',
            file=sys.stderr,
        )
        return 1


def _help():
    lines = [
        "usage: ratn COMMAND [options]",
        "",
        "Residual Attention Networks in Keras.",
        "",
    ]
    width = max(map(len, COMMANDS))
    lines += [f"  {n:<{width}}  {text}" for n, (_, text) in COMMANDS.items()]
    lines += ["", "`ratn COMMAND --help` explains a command's options."]
    return "\n".join(lines)


def _import(module):
    """Imports it as installed, else from the checkout beside keras_ratn."""
    package = module.split(".")[0]
    try:
        importlib.import_module(f"keras_ratn.{package}")
    except ModuleNotFoundError as error:
        if error.name != f"keras_ratn.{package}":
            raise
        return importlib.import_module(module)
    return importlib.import_module(f"keras_ratn.{module}")


if __name__ == "__main__":
    sys.exit(main())
