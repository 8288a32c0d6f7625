"""What a trained model is, written from its config and its results."""

import json

from .checkpoint import publish_text


def write_model_card(folder, config, results, class_names):
    """Publishes `README.md` and `model_card.json` beside the weights.

    Args:
        folder: `pathlib.Path` of the run.
        config: `Experiment`.
        results: What `train.finish` found.
        class_names: List of strings, in the order of the outputs.
    """
    size = config.data.image_size
    card = {
        "network": config.model,
        "input": f"{size}x{size} pixels, 0-255",
        "classes": class_names,
        "data": f"{config.data.source} {config.data.location}".strip(),
        "epochs": config.epochs,
        "seed": config.seed,
        "test": results.get("test"),
        "majority_class": results.get("majority_class"),
        "environment": results["environment"],
    }
    publish_text(folder / "model_card.json", json.dumps(card, indent=2) + "\n")
    publish_text(folder / "README.md", _text(card, config, results))


def _text(card, config, results):
    last = results["history"][-1]
    rows = [("training loss, last epoch", f"{last['loss']:.4f}")]
    if "val_accuracy" in last:
        best = max(row["val_accuracy"] for row in results["history"])
        rows += [("best validation accuracy", f"{best:.2%}")]
    if card["test"]:
        rows += [("test accuracy", f"{card['test']['accuracy']:.2%}")]
    if card["majority_class"]:
        share = f"{card['majority_class']:.2%}"
        rows += [("most frequent class alone", share)]
    rows += [("images per second", f"{last['images_per_second']:.0f}")]
    versions = card["environment"]["versions"]
    stated = ", ".join(f"{name} {value}" for name, value in versions.items())
    optimizer = config.optimizer
    init = f" from `{config.init}`" if config.init else ""
    noise = ""
    if config.data.label_noise or config.data.label_file:
        noise = (
            f"\nThe training labels are not the true ones: noise "
            f"{config.data.label_noise:.0%}, file {config.data.label_file}.\n"
        )
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""# {config.model} on {card["data"]}

Takes {card["input"]}; gives one probability for each of
{len(card["classes"])} classes: {", ".join(card["classes"])}.

```python
import keras, keras_ratn

model = keras.saving.load_model("last.keras")
```

| measured | |
| --- | --- |
{table}

`best.keras`, where there is one, is the model of the epoch with the highest
validation accuracy; `last.keras`, the tested one, that of the last epoch.

Trained{init} for {config.epochs} epochs in batches of {config.batch_size} by
{optimizer.name} ({optimizer.schedule} schedule), seed {config.seed}; all
choices are in `config.json`, all epochs in `log.csv`.
{noise}
Made by {stated}; commit {card["environment"]["commit"]}.
"""
