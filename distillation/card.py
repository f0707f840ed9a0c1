"""The model card of a finished training."""

from collections.abc import Mapping

from distillation.families import ModelRecipe, PretrainedRecipe, T5Recipe
from distillation.recipe import BiasModelRecipe, Recipe

_CARD = """---
license: mit
library_name: transformers
{pipeline}tags: [debiasing, distillation, interpretability]
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
    "words": """    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    inputs = tokenizer(premise, hypothesis, return_tensors="pt")
    start = torch.tensor([[model.config.decoder_start_token_id]])
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    words = tokenizer(text_target=names, add_special_tokens=False)["input_ids"]
    first_tokens = [word[0] for word in words]
    logits = model(**inputs, decoder_input_ids=start).logits[:, 0, first_tokens]

The model answers with a word: the logit of a class is that of the first token of its name at the
first step of the decoder. It has no classification head.""",
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
    answers = "words" if _answers_with_words(recipe.model) else recipe.model.reads
    # No pipeline reads label words, and the one for classes would draw a random head.
    pipeline = "" if answers == "words" else f"pipeline_tag: {recipe.model.reads}-classification\n"
    return _CARD.format(
        name=recipe.name,
        seed=seed,
        description=recipe.description,
        task=recipe.data.task,
        pipeline=pipeline,
        content={"text": "words", "image": "images"}[recipe.model.reads],
        use=_USE[answers],
        architecture=recipe.model.architecture,
        classes=", ".join(recipe.model.classes),
        objective=objective + _bias(recipe.bias_model),
        teacher="none" if not recipe.teachers else f"`{'`, `'.join(recipe.teachers)}`, seed {seed}",
        start=_start(recipe),
        items=", ".join(f"{n} {cell}" for cell, n in cells.items()),
        steps=recipe.optimization.steps,
        batch_size=recipe.optimization.batch_size,
        learning_rate=recipe.optimization.learning_rate,
        accuracy=", ".join(f"{cell} {rate['value']:.3f}" for cell, rate in validation.items())
        or "not measured",
    )


def _answers_with_words(model: ModelRecipe) -> bool:
    return isinstance(model, T5Recipe | PretrainedRecipe) and model.head == "label-words"


def _bias(bias: BiasModelRecipe | None) -> str:
    if bias is None:
        return ""
    source = bias.recipe or bias.path
    return f", bias model {bias.name if source is None else f'`{source}`'}"


def _start(recipe: Recipe) -> str:
    start = recipe.start
    if start is None:
        is_pretrained = isinstance(recipe.model, PretrainedRecipe)
        return "the pretrained network" if is_pretrained else "fresh weights"
    layers = "" if start.layers is None else f", layers {', '.join(map(str, start.layers))}"
    return f"`{start.recipe}`{layers}"
