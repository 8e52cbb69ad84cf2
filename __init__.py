"""longtake: one long take in, a leaderboard out."""
