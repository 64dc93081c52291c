"""Filmstrip: an uploaded video becomes image sprites, an index of them, and a notification."""
