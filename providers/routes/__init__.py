"""What an operator does with routes: order, pause, test, check, export and import, and what a draft would have cost."""
