"""Writes the model tables into `keras_ratn/models/README.md`:

    python -m tests.model_table

Every number is counted on the built network, none is typed.
"""

import math
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = ROOT / "keras_ratn" / "models" / "README.md"
BEGIN, END = "<!-- model table -->", "<!-- end of model table -->"
FAMILY_BEGIN = "<!-- attention family table -->"
FAMILY_END = "<!-- end of attention family table -->"

# What the paper prints: parameters, multiply-accumulates, error in percent.
PAPER = {
    "Attention56": ("31.9 M", "6.2 G", "21.76 top-1 on ImageNet"),
    "Attention92": ("51.3 M", "10.4 G", "19.5 top-1 on ImageNet, 320 px"),
    "AttentionNeXt56": ("31.9 M", "6.3 G", "21.2 top-1 on ImageNet"),
    "AttentionInception56": ("31.9 M", "6.3 G", "20.36 top-1, 299 px"),
    "CifarAttention56": ("", "", "5.52 on CIFAR-10"),
    "CifarAttention92": ("1.9 M", "", "4.99 on CIFAR-10"),
    "CifarAttention128": ("", "", "4.44 on CIFAR-10"),
    "CifarAttention164": ("", "", "4.31 on CIFAR-10"),
    "CifarAttention236": ("5.1 M", "", "4.14 on CIFAR-10"),
    "CifarAttention452": ("8.6 M", "", "3.90 on CIFAR-10"),
}


def rows():
    """Lines of a Markdown table, one for each registered builder."""
    import keras

    import keras_ratn
    from tests.network_lists import BUILDERS

    yield (
        "| network | depth | parameters | MACs | paper: parameters | MACs "
        "| error % |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for name, builder in BUILDERS.items():
        depth = keras_ratn.VARIANTS[name.lower()].depth
        paper = " | ".join(PAPER.get(name, ("", "", "")))
        yield f"| `{name}` | {depth} | {_costs(builder())} | {paper} |"
        keras.utils.clear_session()


def family_rows():
    """The same of the networks of the attention family."""
    import keras

    from tests.network_lists import FAMILY_BUILDERS

    yield "| network | parameters | MACs |"
    yield "| --- | ---: | ---: |"
    for name, builder in FAMILY_BUILDERS.items():
        yield f"| `{name}` | {_costs(builder())} |"
        keras.utils.clear_session()


def _costs(model):
    import keras_ratn

    parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
    size = model.input_shape[1]
    return f"{parameters:,} | {keras_ratn.count_macs(model):,} @{size}"


def replaced(text, begin, end, lines):
    """The text with these lines between its two marks."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    table = "\n".join(lines)
    return f"{before}{begin}\n{table}\n{end}{after}"


def main():
    """Replaces what stands between the marks there."""
    tables = (BEGIN, END, rows), (FAMILY_BEGIN, FAMILY_END, family_rows)
    for begin, end, make in tables:
        lines = list(make())
        text = replaced(README.read_text(), begin, end, lines)
        README.write_text(text)


if __name__ == "__main__":
    main()
