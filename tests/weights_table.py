"""Writes the table of trained weights into `keras_ratn/weights/README.md`:

    python -m tests.weights_table

Every number but the paper's comes from the cards that stand beside the
weights.
"""

import json

from .model_table import PAPER
from .model_table import replaced
from .model_table import ROOT

README = ROOT / "keras_ratn" / "weights" / "README.md"
BEGIN, END = "<!-- weights table -->", "<!-- end of weights table -->"


def rows():
    """Lines of a Markdown table, one for each set of weights."""
    from keras_ratn.models.pretrained import PACKAGED
    from tests.network_lists import BUILDERS

    builders = {name.lower(): name for name in BUILDERS}
    yield (
        "| weights | test accuracy | int8 file | the paper's | epochs "
        "| hours | trained on |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for path in sorted(PACKAGED.glob("*.json")):
        card = json.loads(path.read_text())
        network = builders[card["variant"]]
        int8 = f"{card['int8_accuracy']:.2f} %" if "int8_source" in card else ""
        error = PAPER.get(network, ("", "", ""))[2].split()
        paper = f"{100 - float(error[0]):.2f} %" if error else ""
        yield (
            f"| `{network}:{card['name']}` | {card['accuracy']:.2f} % "
            f"| {int8} | {paper} | {card['recipe']['epochs']} "
            f"| {card['training_seconds'] / 3600:.1f} | {card['hardware']} |"
        )


def main():
    """Replaces what stands between the two marks there."""
    README.write_text(replaced(README.read_text(), BEGIN, END, rows()))


if __name__ == "__main__":
    main()
