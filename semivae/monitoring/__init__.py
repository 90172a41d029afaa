"""What is measured while a game is played, and which failures the measurements show."""
