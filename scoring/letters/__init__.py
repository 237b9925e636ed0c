"""Dead letters: found, shown, exported, and put back into their input topic."""
