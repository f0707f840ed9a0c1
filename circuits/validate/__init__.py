"""How far each discovery algorithm can be trusted: all of them on models whose circuit is known."""
