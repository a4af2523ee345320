"""What is done around a model and a server: looking at a machine, planning, converting, judging, keeping logs."""
