"""The wire formats of streams: moshi-server's MessagePack, and JSON with raw audio. One file speaks each."""
