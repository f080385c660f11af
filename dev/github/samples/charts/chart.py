"""Draws a bar chart in text."""

for name, value in {"north": 12, "south": 7, "east": 19, "west": 3}.items():
    print(f"{name:<6} {'#' * value} {value}")
