"""What a person at a terminal has: lines that can be edited, a conversation, Ctrl-C for what takes too long."""
