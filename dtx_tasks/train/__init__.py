"""Fine-tunes the jobs of a pack: the program that `accelerate launch` starts, once for each process."""
