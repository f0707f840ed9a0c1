"""Heatmaps: rows in the order in which they run, named after the model's own nodes."""

import numpy as np

from patching.heatmap import head_heatmap, node_grid

T5 = ("enc.a0.h0", "enc.a1.h0", "dec.a0.h0", "dec.x0.h0", "dec.a1.h0", "dec.x1.h0")
T5_MLPS = ("enc.m0", "enc.m1", "dec.m0", "dec.m1")


def test_layers_are_numbered_upwards_and_mlps_stand_last() -> None:
    grid = node_grid(["m2", "a0.h1", "a2.h10", "a2.h0"])
    assert grid.labels == ["0", "1", "2"]
    assert (grid.up, grid.across) == ("layer", "head")
    assert grid.columns == ("0", "1", "10", "MLP")
    assert grid.places == {"m2": (2, 3), "a0.h1": (0, 1), "a2.h10": (2, 2), "a2.h0": (2, 0)}


def test_rows_of_an_encoder_decoder_stand_in_the_order_in_which_they_run() -> None:
    grid = node_grid(reversed((*T5, *T5_MLPS)))
    assert grid.labels == ["enc.a0", "enc.a1", "dec.a0", "dec.x0", "dec.a1", "dec.x1"]
    assert (grid.up, grid.across) == ("row", "head")
    rows = {name: grid.labels[grid.places[name][0]] for name in T5_MLPS}
    assert rows == {"enc.m0": "enc.a0", "enc.m1": "enc.a1", "dec.m0": "dec.x0", "dec.m1": "dec.x1"}


def test_blocks_of_a_resnet_have_channel_groups_and_no_mlps() -> None:
    grid = node_grid(["s10.b0.g1", "s2.b1.g0", "s2.b0.g1"])
    assert grid.labels == ["s2.b0", "s2.b1", "s10.b0"]
    assert (grid.up, grid.across) == ("block", "channel group")
    assert grid.columns == ("0", "1")


def test_whole_rows_have_a_column_of_their_own() -> None:
    assert node_grid(["a0", "a0.h0", "m0"]).columns == ("0", "all heads", "MLP")
    assert node_grid(["s0.b0", "s0.b0.g0"]).columns == ("0", "all groups")


def test_nodes_without_a_row_get_no_place() -> None:
    assert node_grid(["input", "logits"]).places == {}


def test_a_row_without_an_mlp_leaves_its_cell_empty() -> None:
    grid = node_grid([*T5, *T5_MLPS])
    mlps = np.array([1.0, 2.0, np.nan, 3.0, np.nan, 4.0])
    figure = head_heatmap(np.ones((6, 1)), mlps, title="x", grid=grid)
    drawn = figure.data[0]
    assert list(drawn.y) == grid.labels
    assert list(drawn.x) == ["0", "MLP"]
    assert figure.layout.yaxis.title.text == "row"
    assert np.isnan(np.asarray(drawn.z)[2, 1]) and np.asarray(drawn.z)[3, 1] == 3.0
    assert drawn.zmax == 1.0
