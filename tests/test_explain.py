"""`model.explain()`: the names that it gives are those that can be patched."""

from pathlib import Path

import pytest
from modelmaking import FAMILIES, make_family

from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel


@pytest.fixture(scope="module", params=FAMILIES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PatchableModel:
    folder = make_family(tmp_path_factory.mktemp("explain") / request.param, request.param)
    return load_checkpoint(folder, check=False)


def test_every_row_and_every_mlp_is_named_once(model: PatchableModel) -> None:
    table = model.explain().to_dataframe()
    assert tuple(table["row"]) == model.spec.rows
    assert tuple(name for name in table["MLP"] if name != "-") == model.spec.mlps
    assert [cell.split(" ")[0] for cell in table["heads"]] == list(model.spec.heads[::3])


def test_all_sites_that_it_names_can_be_read_and_no_activation_is_forgotten(
    model: PatchableModel,
) -> None:
    named = {model.site(text).activation for text in model.explain().sites}
    there = {site.activation for site in model.sites(None)} | {"result"}
    assert named - {"pattern"} == there
    assert ("pattern" in named) == (model.spec.family != "resnet")


def test_the_nodes_that_it_names_exist(model: PatchableModel) -> None:
    for kind, text in model.explain().nodes:
        separator = ", " if kind == "embeddings" else " to "
        for name in text.split(separator):
            if name != "input":
                assert model.site(name)


def test_the_text_shows_all_of_it(model: PatchableModel) -> None:
    explained = model.explain()
    text = str(explained)
    assert repr(explained) == text
    for part in (model.architecture.model_class, *model.spec.rows, *explained.missing):
        assert part in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_what_a_family_has_not_is_said(tmp_path: Path) -> None:
    missing = {
        family: " ".join(
            load_checkpoint(make_family(tmp_path / family, family), check=False).explain().missing
        )
        for family in ("bert", "t5", "vit", "resnet")
    }
    assert missing["bert"] == ""
    assert "not to a mean" in missing["t5"]
    assert "Words" in missing["vit"]
    assert all(word in missing["resnet"] for word in ("MLPs", "Attention", "resid_mid", "Words"))
