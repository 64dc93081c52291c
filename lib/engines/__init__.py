"""Who makes the pictures."""
