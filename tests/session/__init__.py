"""The session room: one stream's life."""
