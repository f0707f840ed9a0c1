"""The model card of a finished training."""

from collections.abc import Mapping

from distillation.recipe import BiasModelRecipe, Recipe

_CARD = """---
license: mit
library_name: transformers
pipeline_tag: {pipeline}
tags: [debiasing, distillation, interpretability]
---

# {name}, seed {seed}

{description}

A small model made to study whether debiasing survives distillation. It knows the {content} of the
task `{task}` and is of no use for anything else.

| | |
|---|---|
| architecture | {architecture} |
| classes | {classes} |
| objective | {objective} |
| teacher | {teacher} |
| starts from | {start} |
| training items | {items} |
| optimization | {steps} steps of {batch_size} items, AdamW, learning rate {learning_rate} |
| validation accuracy | {accuracy} |

A, N, C, L are the cells of a quad: core feature and shortcut both point to the label (A), only
the core does (N), only the shortcut does (C), neither does (L).

## Use

{use}

## Make it again

    python -m distillation.train recipes/{name}.yaml --seed {seed} --out FOLDER

`training.json` holds the whole recipe, the versions, the digests and the history of the loss.
"""


_USE = {
    "text": """    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    model = AutoModelForSequenceClassification.from_pretrained(FOLDER)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    logits = model(**tokenizer(premise, hypothesis, return_tensors="pt")).logits""",
    "image": """    from transformers import AutoImageProcessor, AutoModelForImageClassification
    model = AutoModelForImageClassification.from_pretrained(FOLDER)
    processor = AutoImageProcessor.from_pretrained(FOLDER)
    logits = model(**processor(image, return_tensors="pt")).logits""",
}


def model_card(
    recipe: Recipe,
    seed: int,
    cells: Mapping[str, int],
    validation: Mapping[str, Mapping[str, float | int]],
) -> str:
    """A card in Markdown, for people who find the folder without its repository.

    Args:
        recipe: What was trained.
        seed: What it was trained with.
        cells: Number of training items of each cell.
        validation: Accuracy of each cell on validation quads.
    """
    settings = recipe.to_json()["objective"]
    assert isinstance(settings, dict)
    objective = ", ".join(str(v) if k == "name" else f"{k} {v}" for k, v in settings.items())
    start = recipe.start
    return _CARD.format(
        name=recipe.name,
        seed=seed,
        description=recipe.description,
        task=recipe.data.task,
        pipeline=f"{recipe.model.reads}-classification",
        content={"text": "words", "image": "images"}[recipe.model.reads],
        use=_USE[recipe.model.reads],
        architecture=recipe.model.architecture,
        classes=", ".join(recipe.model.classes),
        objective=objective
        + (f", bias model {_bias(recipe.bias_model)}" if recipe.bias_model else ""),
        teacher="none" if not recipe.teachers else f"`{'`, `'.join(recipe.teachers)}`, seed {seed}",
        start="fresh weights" if start is None else _start(start.recipe, start.layers),
        items=", ".join(f"{n} {cell}" for cell, n in cells.items()),
        steps=recipe.optimization.steps,
        batch_size=recipe.optimization.batch_size,
        learning_rate=recipe.optimization.learning_rate,
        accuracy=", ".join(f"{cell} {rate['value']:.3f}" for cell, rate in validation.items())
        or "not measured",
    )


def _bias(bias: BiasModelRecipe | None) -> str:
    if bias is None:
        return ""
    source = bias.recipe or bias.path
    return f", bias model {bias.name}" + ("" if source is None else f" `{source}`")


def _start(recipe: str, layers: tuple[int, ...] | None) -> str:
    return f"`{recipe}`" + ("" if layers is None else f", layers {', '.join(map(str, layers))}")
