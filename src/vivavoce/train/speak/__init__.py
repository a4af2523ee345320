"""How the embedded voice is made: a decoder for the voices that speak, then a language model that speaks codes."""
