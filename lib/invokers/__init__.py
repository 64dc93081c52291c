"""How one function starts another."""
