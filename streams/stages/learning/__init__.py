"""Rules of learning: when a model is trained anew, on what, and who gets it first. Pure; the trainer and the stages call them."""
