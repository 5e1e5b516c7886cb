"""The commands. They start in tens of milliseconds: no trio, no supervisor, nothing slow."""
