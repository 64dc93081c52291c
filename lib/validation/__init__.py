"""Every message that may come in, checked before anything believes it."""
