"""`ratn train`: from a config to a trained network and its record."""

import dataclasses
import json
import pathlib
import sys
import textwrap
import time
from typing import Annotated

import keras
import numpy as np

from keras_ratn import command

from . import callbacks
from . import configs
from .averaging import averaged_weights
from .averaging import AverageEvaluation
from .averaging import measured_batches
from .batch_normalization import fused_batch_normalization
from .batch_normalization import set_synchronized
from .checkpoint import load_checkpoint
from .checkpoint import publish_text
from .checkpoint import published
from .command_line import tyro
from .config import Experiment
from .data import check_alternating
from .data import evaluation_batches
from .data import load_source
from .data import num_steps
from .data import own_errors
from .data import training_batches
from .errors import LossError
from .errors import RunError
from .initialization import initialize
from .memory import activations_memory
from .memory import weights_memory
from .model import compile_model
from .model import TrainingModel
from .model_card import write_model_card
from .networks import build_network
from .optimization import build_optimizer
from .optimization import check_optimizer
from .optimization import learning_rate
from .optimization import learning_rate_factors
from .resident import check_resident
from .resident import report
from .resident import ResidentTraining
from .run_folder import check_folder
from .run_folder import check_inputs
from .run_folder import open_run
from .run_folder import read_results
from .run_folder import record_inputs
from .run_folder import remove_leftovers
from .runtime import Devices
from .runtime import environment
from .runtime import prepare_keras
from .runtime import record_environment


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command line takes beside the experiment."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    run_dir: str | None = None
    """Folder of the run; the same command resumes it. Defaults to
    runs/CONFIG."""
    dry_run: bool = False
    """Print model, data, schedule, memory and steps; train nothing."""
    time_limit: float | None = None
    """Minutes after which no further epoch begins; the same command goes on
    from there."""
    profile: bool = False
    """First measure some steps: images/s, where the time goes, how long all
    epochs will take. With `runtime.resident` only."""


def main(arguments=None):
    """Runs `ratn train` and returns its exit status."""
    started = time.monotonic()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    try:
        parsed = parse(arguments, "ratn train")
        run(
            parsed.experiment,
            parsed.run_dir,
            parsed.dry_run,
            started,
            time_limit=parsed.time_limit,
            profile=parsed.profile,
        )
    except (RunError, ValueError) as error:
        return command.fail("ratn train", error)
    except KeyboardInterrupt:
        print(
            "\nratn train: interrupted; the same command goes on after the "
            "last whole epoch.",
            file=sys.stderr,
        )
        return 130
    return 0


def parse(arguments, program):
    """`Arguments` of a command line that begins with a config's name."""
    name, *rest = arguments or [""]
    if name not in configs.NAMES:
        raise RunError(
            f"There is no config {name!r}. Configs: {', '.join(configs.NAMES)}"
        )
    experiment, docstring = configs.load(name)
    return command.parse(
        Arguments,
        prog=f"{program} {name}",
        description=docstring,
        default=Arguments(experiment, f"runs/{name}"),
        args=rest,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _help():
    lines = ["usage: ratn train CONFIG [options]", ""]
    lines += ["Trains what a config describes, or resumes it.", ""]
    for name in configs.NAMES:
        summary = configs.load(name)[1].splitlines()[0]
        lines += [f"  {name:<15} {summary}"]
    lines += ["", "`ratn train CONFIG --help` explains it and all its options."]
    return "\n".join(lines)


def run(
    config,
    run_dir,
    dry_run=False,
    started=None,
    source=None,
    build=build_network,
    time_limit=None,
    profile=False,
    folder_option="--run-dir",
):
    """Trains an experiment in its folder; returns its results.

    A finished run is not trained again, an interrupted one goes on from its
    last epoch.

    Args:
        config: `Experiment`.
        run_dir: Folder of the run.
        dry_run: Boolean. Whether to print the plan only. Defaults to `False`.
        started: `time.monotonic()` when the command began. Defaults to now.
        source: `Source`. Defaults to the one that the config names.
        build: Function from the experiment, the names of the classes and the
            number of channels to the network. Defaults to `build_network`.
        time_limit: Float. Minutes from `started` after which no further epoch
            begins. Defaults to `None`, no limit.
        profile: Boolean. Whether to measure where the time of a step goes
            before the first epoch. Defaults to `False`.
        folder_option: String. The command's option for `run_dir`, which
            errors name. Defaults to `"--run-dir"`.

    Returns:
        Dictionary of results, `None` for a dry run and where the time limit
        came before the last epoch.
    """
    if profile and not config.runtime.resident:
        raise RunError("`profile` needs --runtime.resident.")
    folder = pathlib.Path(run_dir)
    if not dry_run:
        check_folder(folder, config, folder_option)
        if is_finished(folder):
            check_inputs(folder, config, source, folder_option)
            return stored_results(folder)
    started = started or time.monotonic()
    with prepare_keras(config):
        return _run(
            config,
            folder,
            dry_run,
            started,
            source,
            build,
            time_limit,
            profile,
            folder_option,
        )


def _run(
    config,
    folder,
    dry_run,
    started,
    source,
    build,
    time_limit,
    profile,
    folder_option,
):
    """What `run` does, once Keras is prepared."""
    devices = Devices(config.runtime.devices, config.batch_size)
    source = source or load_source(config.data, config.seed_of_images)
    if config.augmentation.alternate_flip:
        check_alternating(source.train)
    if config.runtime.resident:
        check_resident(source.train)
    steps = num_steps(source.train, config.batch_size)
    check_steps_per_execution(config, steps)
    with devices.scope():
        network = build(config, source.class_names, source.channels)
        initialize(config, network, source.train)
        model = TrainingModel(network, config.augmentation, config.seed)
        check_optimizer(config, network)
        factors = learning_rate_factors(config, network)
        compile_model(model, build_optimizer(config, steps, factors), config)
    # The estimate wants a network that calls each of its layers once.
    thorough = dry_run and build is build_network
    print(plan(config, source, network, steps, devices, thorough), flush=True)
    if dry_run:
        return None
    open_run(folder, config, folder_option)
    inputs = check_inputs(folder, config, source, folder_option)
    devices.synchronize(model)

    def save(path):
        set_synchronized(network, False)  # a file for any backend
        with published(path) as temporary:
            network.save(temporary)
        devices.synchronize(model)

    state = load_checkpoint(folder / "checkpoint.npz", model)
    done = state["epoch"] if state else 0
    if devices.writes:
        remove_leftovers(folder)
        record_inputs(folder, inputs)
        record_environment(folder, done)
    record = callbacks.Record(
        folder, steps * config.batch_size, state, save, devices.writes
    )
    if done < config.epochs:
        if done:
            print(f"resuming after epoch {done}")
        try:
            fit(
                model,
                config,
                source,
                devices,
                record,
                done,
                started,
                time_limit,
                profile,
            )
        except (LossError, KeyboardInterrupt):
            keep_last_epoch(model, record, save)
            raise
    if len(record.history) < config.epochs:
        save_last(model, record, save)
        print(
            f"the time limit came after epoch {len(record.history)}; the same "
            "command goes on from there"
        )
        return None
    return finish(model, config, source, devices, record, save)


def check_steps_per_execution(config, steps):
    """Refuses groups of steps that do not fill an epoch.

    Keras would fill the last group with batches of the next epoch.
    """
    group = config.runtime.steps_per_execution
    if config.runtime.resident or steps % group == 0:
        return
    divisors = [d for d in range(1, steps + 1) if steps % d == 0]
    near = sorted(sorted(divisors, key=lambda d: abs(d - group))[:3])
    raise RunError(
        f"`runtime.steps_per_execution` must divide the {steps} steps of an "
        f"epoch. Received: {group}. Choose, for example, "
        f"{', '.join(map(str, near))}, or another --batch-size."
    )


def fit(
    model,
    config,
    source,
    devices,
    record,
    first_epoch,
    started,
    time_limit=None,
    profile=False,
):
    """Runs the epochs that are left, or those that the time allows."""
    arguments = {"shard": devices.shard}
    validation = None
    if source.validation is not None:
        validation = evaluation_batches(
            source.validation, config.batch_size, **arguments
        )

    def batches(*epochs):
        return training_batches(
            source.train,
            config.batch_size,
            config.seed,
            *epochs,
            alternate=config.augmentation.alternate_flip,
            **arguments,
        )

    def measured():
        return measured_batches(batches(1), config.batch_size)

    interrupt = callbacks.StopAtInterrupt()
    listeners = [callbacks.StopAtNaN(), interrupt]
    listeners += [callbacks.FirstStepTime(started)]
    if config.optimizer.ema:
        with devices.scope():
            listeners.append(AverageEvaluation(model, measured))
    listeners.append(record)
    if devices.writes and callbacks.TensorBoardLog.available():
        listeners.append(callbacks.TensorBoardLog(record))
    if time_limit is not None:
        listeners.append(callbacks.TimeLimit(started, time_limit * 60))
    # A bar on a terminal, a line for each epoch in a file.
    verbose = (1 if sys.stdout.isatty() else 2) if devices.writes else 0
    if config.runtime.resident:
        resident = ResidentTraining(
            model,
            source.train,
            config.batch_size,
            config.seed,
            config.augmentation.alternate_flip,
        )
        if profile:
            report(
                resident.profile(),
                config,
                len(source.train),
                config.epochs - first_epoch,
                record.folder / "profile.json",
            )
        with interrupt:
            resident.fit(
                config.epochs, first_epoch, listeners, validation, verbose
            )
        return
    with (
        interrupt,
        own_errors(source.train),
        own_errors(source.validation),
        fused_batch_normalization(model),
    ):
        model.fit(
            batches(config.epochs, first_epoch),
            epochs=config.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=num_steps(source.train, config.batch_size),
            shuffle=False,  # the batches come in their order
            validation_data=validation,
            callbacks=listeners,
            verbose=verbose,
        )


def keep_last_epoch(model, record, save):
    """Writes the checkpoint's network: of the last whole epoch, if any."""
    state = load_checkpoint(record.folder / "checkpoint.npz", model)
    if state:
        record.history = state["history"]
        save_last(model, record, save)


def save_last(model, record, save):
    """Writes the network as it is, and the curves that led to it."""
    with averaged_weights(model):
        if record.writes:
            save(record.folder / "last.keras")
    if record.writes:
        callbacks.plot_curves(record.history, record.folder / "curves.png")


def is_finished(run_dir):
    """Whether a run was trained to its end and tested."""
    files = ("results.json", "last.keras")
    return all((pathlib.Path(run_dir) / name).exists() for name in files)


def stored_results(folder):
    """What a finished run found, printed once more."""
    results = read_results(folder)
    print(f"{folder} holds this run, finished:")
    print_results(results)
    return results


def print_results(results):
    """The test's outcome, if there was one."""
    if results.get("test"):
        print(f"test accuracy {results['test']['accuracy']:.2%}")
        if results.get("majority_class"):
            print(f"most frequent class {results['majority_class']:.2%}")


def finish(model, config, source, devices, record, save):
    """Tests the last model, and writes down what came out."""
    folder = record.folder
    results = {"epochs": config.epochs, "history": record.history}
    save_last(model, record, save)
    if source.test is not None:
        test = evaluation_batches(source.test, config.batch_size, devices.shard)
        # Fused as in `fit`, so that a run resumed here gives the same bits.
        fused = fused_batch_normalization(model)
        reading = own_errors(source.test)
        with averaged_weights(model), fused, reading:
            scores = model.evaluate(test, verbose=0, return_dict=True)
        results["test"] = {key: float(v) for key, v in scores.items()}
        results["majority_class"] = majority_class(source.test)
        print_results(results)
    results["environment"] = environment()
    if devices.writes:
        write_model_card(folder, config, results, source.class_names)
        # Comes last: it says that the run is finished.
        publish_text(
            folder / "results.json", json.dumps(results, indent=2) + "\n"
        )
        print(f"run folder: {folder}")
    return results


def majority_class(split):
    """Accuracy of always saying the most frequent class, if it is known."""
    labels = getattr(split, "labels", None)
    if labels is None:
        return None
    return float(np.bincount(labels).max() / len(labels))


def plan(config, source, network, steps, devices, thorough=False):
    """What will happen, in a few lines; `thorough` takes seconds longer."""
    activations = ""
    if thorough:
        size = activations_memory(network, config.batch_size // devices.count)
        activations = f"; {size:,.0f} MiB a device for activations (estimate)"
    trainable = sum(int(keras.ops.size(v)) for v in network.trainable_variables)
    splits = ", ".join(
        f"no {name}" if split is None else f"{len(split):,} {name}"
        for name in ("train", "validation", "test")
        for split in [getattr(source, name)]
    )
    optimizer = config.optimizer
    size = config.data.image_size
    text = f"""\
        model     {config.model}: {trainable:,} trainable parameters of \
{network.count_params():,}
        data      {config.data.source} {config.data.location}: {splits} \
images, {len(source.class_names)} classes, {size}x{size}
        schedule  {config.epochs} epochs of {steps:,} steps of \
{config.batch_size}: {config.epochs * steps:,} steps; {optimizer.name}, \
{optimizer.schedule} from {learning_rate(config):g}
        memory    {weights_memory(config, network):,.1f} MiB for weights, \
gradients and optimizer{activations}
        devices   {devices.count} on {keras.backend.backend()}, \
{config.runtime.precision}"""
    return textwrap.dedent(text)


if __name__ == "__main__":
    sys.exit(main())
