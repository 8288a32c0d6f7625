"""A row of a table becomes a builder, and enters the one list of networks.

A stub without arguments gives a network its name and its sentence; signature
and explanation come from the function that builds the row. Run time, `help`
and Jupyter see them by `__signature__` and `__doc__`, editors and type
checkers by `ParamSpec`.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable
from typing import Any
from typing import Concatenate
from typing import Literal
from typing import ParamSpec
from typing import TypeVar

import keras

Arguments = ParamSpec("Arguments")
Row = TypeVar("Row")

Weights = str | os.PathLike | None
# Without the batch size; height and width may be None.
Shape = tuple[int | None, int | None, int | None] | None
Task = Literal["classification", "segmentation"]
Pooling = Literal["avg", "max"] | None
DataFormat = Literal["channels_last", "channels_first"] | None
Activation = str | Callable[[Any], Any] | None


@dataclasses.dataclass(frozen=True)
class Network:
    """An entry of the list of networks.

    Args:
        name: String. As it is written.
        build: Function of the network's options to a `keras.Model`.
        task: String, `"classification"` or `"segmentation"`.
    """

    name: str
    build: Callable[..., keras.Model]
    task: Task = "classification"


# Name in lower case -> `Network`. Filled by the files that define networks.
NETWORKS: dict[str, Network] = {}


def enter(name, build, task="classification"):
    """Puts a network on the list; its name is no other one's."""
    if name.lower() in NETWORKS:
        raise ValueError(f"There is a network {name!r} already.")
    NETWORKS[name.lower()] = Network(name, build, task)


def named(
    build: Callable[Concatenate[Row, Arguments], keras.Model],
    row: Row,
    task: Task = "classification",
) -> Callable[[Callable[[], None]], Callable[Arguments, keras.Model]]:
    """A decorator: the stub below becomes the builder of a row.

    Args:
        build: Function of a row and of a builder's arguments. Its docstring,
            but for the first paragraph, explains these.
        row: The first argument for `build`.
        task: As of `Network`. Defaults to `"classification"`.

    Returns:
        A decorator of functions without arguments, which have a name and a
        docstring. The model goes by that name in lower case.
    """
    _, *parameters = inspect.signature(build).parameters.values()

    def complete(stub):
        default = {"name": stub.__name__.lower()}
        signature = inspect.Signature(
            [
                p.replace(default=default.get(p.name, p.default))
                for p in parameters
            ],
            return_annotation=keras.Model,
        )

        def builder(*args, **kwargs):
            try:
                given = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{stub.__name__}() {error}") from None
            given.apply_defaults()
            return build(row, *given.args, **given.kwargs)

        for attribute in ("__name__", "__qualname__", "__module__"):
            setattr(builder, attribute, getattr(stub, attribute))
        explained = inspect.getdoc(build).partition("\n\n")[2]
        builder.__doc__ = f"{inspect.getdoc(stub)}\n\n{explained}\n"
        builder.__signature__ = signature
        enter(stub.__name__, builder, task)
        return builder

    return complete
