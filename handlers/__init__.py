"""One module per function: translate the event, make one call, answer."""
