"""What the bot does about each kind of update: small functions that return, in words, what they did."""
