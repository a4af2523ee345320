"""Modules that hold weights; streaming state is an explicit object passed in. No stream, file name or thread here."""
