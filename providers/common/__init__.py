"""What every layer may use: pure, without Django."""
