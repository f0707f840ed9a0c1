"""Names of nodes and sites: what is written is read back, and aliases mean what they say."""

import pytest

from behavior.errors import DataError
from patching.models.nodes import ACTIVATIONS, Node, Site, parse_site


@pytest.mark.parametrize(
    ("text", "node", "site"),
    [
        ("input", Node("input"), "L0.resid_pre"),
        ("enc.input", Node("input", stack="enc"), "enc.L0.resid_pre"),
        ("dec.input", Node("input", stack="dec"), "dec.L0.resid_pre"),
        ("a3", Node("heads", 3), "L3.z"),
        ("a3.h5", Node("head", 3, 5), "L3.h5.z"),
        ("a11.h12", Node("head", 11, 12), "L11.h12.z"),
        ("m2", Node("mlp", 2), "L2.mlp_out"),
        ("enc.a0.h1", Node("head", 0, 1, "enc"), "enc.L0.h1.z"),
        ("enc.m1", Node("mlp", 1, stack="enc"), "enc.L1.mlp_out"),
        ("dec.a0", Node("heads", 0, stack="dec"), "dec.L0.z"),
        ("dec.a0.h1", Node("head", 0, 1, "dec"), "dec.L0.h1.z"),
        ("dec.x0", Node("heads", 0, stack="dec.x"), "dec.x.L0.z"),
        ("dec.x0.h1", Node("head", 0, 1, "dec.x"), "dec.x.L0.h1.z"),
        ("dec.m0", Node("mlp", 0, stack="dec"), "dec.L0.mlp_out"),
        ("s2.b1", Node("heads", 1, stack="s2"), "s2.L1.z"),
        ("s2.b1.g3", Node("head", 1, 3, "s2"), "s2.L1.h3.z"),
    ],
)
def test_nodes_read_what_they_write_and_know_their_site(text: str, node: Node, site: str) -> None:
    assert Node.parse(text) == node
    assert str(node) == text
    assert str(node.site) == site
    assert parse_site(text) == node.site == Site.parse(site)
    assert node.row == text.rsplit(".h", 1)[0].rsplit(".g", 1)[0]


@pytest.mark.parametrize("stack", ["", "enc.", "dec.", "dec.x.", "s0.", "s12."])
def test_sites_read_what_they_write(stack: str) -> None:
    texts = [f"{stack}L11.{activation}" for activation in ACTIVATIONS] + [f"{stack}L0.h12.pattern"]
    for text in texts:
        site = Site.parse(text)
        assert str(site) == text
        assert site.stack == stack.rstrip(".")
        assert site.whole == Site(site.layer, site.activation, stack=site.stack)


@pytest.mark.parametrize(
    ("alias", "text"),
    [
        ("hook_embed", "L0.resid_pre"),
        ("blocks.1.hook_resid_mid", "L1.resid_mid"),
        ("blocks.3.attn.hook_z", "L3.z"),
        ("encoder_blocks.0.attn.hook_pattern", "enc.L0.pattern"),
        ("encoder_blocks.1.hook_mlp_out", "enc.L1.mlp_out"),
        ("decoder_blocks.0.self_attn.hook_q", "dec.L0.q"),
        ("decoder_blocks.1.cross_attn.hook_z", "dec.x.L1.z"),
        ("decoder_blocks.1.hook_resid_post", "dec.L1.resid_post"),
    ],
)
def test_names_of_transformerlens_are_aliases(alias: str, text: str) -> None:
    assert str(Site.parse(alias)) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "b1",
            "a1.h",
            "x1.L0.z",
            "x.L0.z",
            "enc.x.L0.z",
            "a01",
            "a1.g2x",
            "enc.x",
            "enc.logits",
            "dec.m0.h1",
            "a-1",
            "A1",
            "",
        ),
        *("L1", "L1.h2", "dec.L.z", "foo.L1.z", "blocks.1.hook_zed", "enc.blocks.1.attn.hook_z"),
    ],
)
def test_what_is_no_name_is_refused_in_one_line(text: str) -> None:
    for parse in (Node.parse, Site.parse, parse_site):
        with pytest.raises(DataError, match="Cannot read") as caught:
            parse(text)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("activation", ["resid_pre", "resid_mid", "attn_out", "mlp_out"])
def test_only_what_heads_have_has_a_head(activation: str) -> None:
    with pytest.raises(DataError, match="has no head axis, but head=1 was given"):
        Site.parse(f"enc.L0.h1.{activation}")


@pytest.mark.parametrize("text", ["b0", "a0.g1", "s1.x0", "s1.a0", "s0.b0.h1", "enc.b0", "a01"])
def test_a_letter_of_another_family_is_no_alias(text: str) -> None:
    with pytest.raises(DataError, match="as a node"):
        Node.parse(text)


def test_the_output_is_no_site() -> None:
    assert str(Node.parse("logits")) == "logits"
    with pytest.raises(DataError, match="cannot be patched"):
        parse_site("logits")
