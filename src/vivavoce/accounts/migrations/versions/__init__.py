"""One file a change, each after the one that its `down_revision` names."""
