"""The atlas data: facts, invented passages, the training mix, and the questions models are judged by."""
