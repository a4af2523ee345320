"""The LM's step as one native call; compiled with the package, or at first use where a compiler is at hand."""
