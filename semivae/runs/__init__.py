"""What training leaves: the folder of a run, its checkpoints, the trained model."""
